package simnet

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// The methods of net.Conn and net.PacketConn: see packet.go for what they do.

// Read implements net.Conn.
func (c *packetConn) Read(b []byte) (int, error) {
	n, _, err := c.read(b)
	if err != nil {
		return 0, c.opError("read", c.remoteAddr(), err)
	}
	return n, nil
}

// ReadFrom implements net.PacketConn.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.read(b)
	if err != nil {
		return 0, nil, c.opError("read", c.remoteAddr(), err)
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// Write implements net.Conn.
func (c *packetConn) Write(b []byte) (int, error) {
	if !c.remote.IsValid() {
		return 0, c.opError("write", nil, os.NewSyscallError("write", syscall.EDESTADDRREQ))
	}
	if err := c.write(b, c.remote); err != nil {
		return 0, c.opError("write", c.remoteAddr(), err)
	}
	return len(b), nil
}

// WriteTo implements net.PacketConn.
func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if c.remote.IsValid() {
		return 0, c.opError("write", addr, net.ErrWriteToConnected)
	}
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", addr, syscall.EINVAL)
	}
	to := udp.AddrPort()
	if err := c.write(b, netip.AddrPortFrom(to.Addr().Unmap(), to.Port())); err != nil {
		return 0, c.opError("write", addr, err)
	}
	return len(b), nil
}

// Close implements net.Conn and net.PacketConn.
func (c *packetConn) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed, c.queue, c.icmp = true, nil, nil
	c.changed.broadcast()
	c.mu.Unlock()
	if closed {
		return c.opError("close", c.remoteAddr(), net.ErrClosed)
	}
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	delete(c.n.sockets, c.local)
	if c.remote.IsValid() {
		c.n.stats.OpenUDP--
	}
	return nil
}

// LocalAddr implements net.Conn and net.PacketConn.
func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// RemoteAddr implements net.Conn. It is nil for an unconnected socket.
func (c *packetConn) RemoteAddr() net.Addr { return c.remoteAddr() }

// remoteAddr returns the peer's address, or a nil interface.
func (c *packetConn) remoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

// SetDeadline implements net.Conn and net.PacketConn.
func (c *packetConn) SetDeadline(t time.Time) error { return c.setDeadlines(&t, &t) }

// SetReadDeadline implements net.Conn and net.PacketConn.
func (c *packetConn) SetReadDeadline(t time.Time) error { return c.setDeadlines(&t, nil) }

// SetWriteDeadline implements net.Conn and net.PacketConn.
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(nil, &t) }

func (c *packetConn) setDeadlines(read, write *time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return &net.OpError{Op: "set", Net: c.network, Addr: c.LocalAddr(), Err: net.ErrClosed}
	}
	if read != nil {
		c.readDeadline = *read
	}
	if write != nil {
		c.writeDeadline = *write
	}
	c.changed.broadcast()
	return nil
}

// opError wraps err as package net does.
func (c *packetConn) opError(op string, addr net.Addr, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: c.network, Source: c.LocalAddr(), Addr: addr, Err: err}
}
