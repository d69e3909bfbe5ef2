package transport_test

import (
	"io"
	"log"
	"net"
)

var quiet = log.New(io.Discard, "", 0)

// readSome reads the whole of a small request: closing a connection with
// unread data resets it.
func readSome(c net.Conn) { c.Read(make([]byte, 64<<10)) }
