//go:build linux

package network

import (
	"encoding/binary"
	"os"
	"sync"
	"time"
)

// capture writes packets to a file for tcpdump and Wireshark. A nil *capture
// writes nothing.
type capture struct {
	mu     sync.Mutex // protects file, and keeps packets whole
	file   *os.File
	failed error
}

// newCapture writes the file's header: draft-ietf-opsawg-pcap, section 4.
func newCapture(name string) (*capture, error) {
	if name == "" {
		return nil, nil
	}
	const (
		magic        = 0xa1b2c3d4 // times in microseconds
		snapLen      = 65536
		linkTypeRaw  = 101 // IP packets
		majorVersion = 2
		minorVersion = 4
	)
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	header := binary.LittleEndian.AppendUint32(nil, magic)
	header = binary.LittleEndian.AppendUint16(header, majorVersion)
	header = binary.LittleEndian.AppendUint16(header, minorVersion)
	for _, field := range []uint32{0, 0, snapLen, linkTypeRaw} {
		header = binary.LittleEndian.AppendUint32(header, field)
	}
	c := &capture{file: f}
	_, c.failed = f.Write(header)
	return c, nil
}

// write adds a packet: section 5 of the same.
func (c *capture) write(at time.Time, data []byte) {
	if c == nil {
		return
	}
	var b []byte
	for _, field := range []int64{at.Unix(), int64(at.Nanosecond() / 1000), int64(len(data)), int64(len(data))} {
		b = binary.LittleEndian.AppendUint32(b, uint32(field))
	}
	b = append(b, data...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil && c.file != nil {
		_, c.failed = c.file.Write(b)
	}
}

// close ends the file, and says whether all of it was written.
func (c *capture) close() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.file.Close()
	c.file = nil
	if c.failed != nil {
		return c.failed
	}
	return err
}
