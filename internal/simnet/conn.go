package simnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// A conn is one end of a TCP connection. Like *net.TCPConn it has CloseWrite
// and SetLinger.
type conn struct {
	network       string // as dialled; "tcp" at the accepting end
	in, out       *stream
	local, remote *net.TCPAddr
	onClose       func() // nil at the accepting end

	mu     sync.Mutex // protects all below; no other lock is taken under it
	closed bool
	linger int
}

// newConns returns both ends of a connection from the address client to the
// listening address server.
func (n *Network) newConns(network string, client, server netip.AddrPort) (dialled, accepted *conn) {
	up := &stream{n: n, host: server.Addr()}
	down := &stream{n: n, host: server.Addr()}
	c, s := net.TCPAddrFromAddrPort(client), net.TCPAddrFromAddrPort(server)
	dialled = &conn{network: network, in: down, out: up, local: c, remote: s, linger: -1}
	dialled.onClose = func() { n.release(client) }
	accepted = &conn{network: "tcp", in: up, out: down, local: s, remote: c, linger: -1}
	return dialled, accepted
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n, reset, err := c.out.write(b)
	if reset { // by a middlebox close to the server: it tells both ends
		now, rtt := time.Now(), c.out.n.link(c.out.host).RTT
		here, there := now.Add(rtt), now.Add(rtt/2)
		c.out.reset(there, here)
		c.in.reset(here, there)
	}
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// CloseWrite sends a FIN: the peer reads io.EOF after what was written.
func (c *conn) CloseWrite() error {
	if c.isClosed() {
		return c.opError("close", net.ErrClosed)
	}
	c.out.closeWrite(io.EOF, true)
	return nil
}

// SetLinger with 0 makes Close reset the connection rather than finish it.
func (c *conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = sec
	return nil
}

// Close implements net.Conn. If there is unread data, or SetLinger said so,
// the peer's reads fail with ECONNRESET, else they end with io.EOF.
func (c *conn) Close() error {
	c.mu.Lock()
	closed, reset := c.closed, c.linger == 0
	c.closed = true
	c.mu.Unlock()
	if closed {
		return c.opError("close", net.ErrClosed)
	}
	end := io.EOF
	if c.in.closeRead(reset) {
		end = syscall.ECONNRESET
	}
	c.out.closeWrite(end, false)
	if c.onClose != nil {
		c.onClose()
	}
	return nil
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	if c.isClosed() {
		return c.setError()
	}
	c.in.setReadDeadline(t)
	c.out.setWriteDeadline(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.isClosed() {
		return c.setError()
	}
	c.in.setReadDeadline(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.isClosed() {
		return c.setError()
	}
	c.out.setWriteDeadline(t)
	return nil
}

// opError wraps err as package net does.
func (c *conn) opError(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: c.network, Source: c.local, Addr: c.remote, Err: err}
}

// setError is the error for a deadline set after Close.
func (c *conn) setError() error {
	return &net.OpError{Op: "set", Net: c.network, Addr: c.local, Err: net.ErrClosed}
}

// release ends what the network knows of a dialled connection.
func (n *Network) release(client netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.clients, client)
	n.stats.Open--
}
