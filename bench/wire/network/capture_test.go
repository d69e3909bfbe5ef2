//go:build linux

package network

import (
	"os"
	"testing"
	"time"
)

func TestCapture_IsAFileOfPackets(t *testing.T) {
	file := t.TempDir() + "/a.pcap"
	c, err := newCapture(file)
	if err != nil {
		t.Fatal(err)
	}
	c.write(time.Unix(1, 2000), []byte("data"))
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	c.write(time.Now(), []byte("too late")) // a packet that was still in the queue
	b, err := os.ReadFile(file)
	want := "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x65\x00\x00\x00" +
		"\x01\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x04\x00\x00\x00data"
	if err != nil || string(b) != want {
		t.Errorf("got %q %v, want %q", b, err, want)
	}
}
