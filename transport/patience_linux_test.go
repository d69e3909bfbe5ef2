package transport

import (
	"io"
	"net"
	"testing"
	"time"
)

// What the server's system has acknowledged since the last look is progress,
// though the write goes on; without any, the server's time is up.
func TestJourney_AcknowledgedBytesAreProgress(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	canceled := false
	j := &journey{Context: t.Context(), used: &conn{Conn: c}}
	j.patience = patience{most: time.Hour, cancel: func(error) { canceled = true }}
	timeIsUp := func() {
		j.patience.until = time.Now().Add(-1)
		j.stall()
	}
	for range 2 {
		echo := make([]byte, 5)
		if _, err := c.Write(echo); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, echo); err != nil { // with which it is acknowledged
			t.Fatal(err)
		}
		if timeIsUp(); j.patience.stalled || canceled || time.Until(j.patience.until) < 59*time.Minute {
			t.Fatalf("stalled: %v, canceled: %v, until %v, want another hour", j.patience.stalled, canceled, j.patience.until)
		}
	}
	if timeIsUp(); !j.patience.stalled || !canceled {
		t.Errorf("stalled: %v, canceled: %v, want both without progress", j.patience.stalled, canceled)
	}
	j.awaitOthers()
}
