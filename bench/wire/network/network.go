//go:build linux

package network

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hostwise-go/hostwise/bench/internal/delay"
	"github.com/hostwise-go/hostwise/bench/internal/namespace"
)

// A Network runs one client at a time.
type Network struct {
	pair             namespace.Pair
	resolvOptions    string
	client, internet io.ReadWriteCloser // TUN devices
	toClient         *delay.Queue
	clientHasIPv6    bool

	routing sync.WaitGroup
	servers []func() // each ends one
	current atomic.Pointer[recorder]
}

// New makes a network. The id tells it from the others of this process;
// resolvOptions are the options in the client's resolv.conf.
func New(id int, resolvOptions string) (*Network, error) {
	n := &Network{pair: pair(id), resolvOptions: resolvOptions}
	if err := n.setUp(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func pair(id int) namespace.Pair { return namespace.NewPair(fmt.Sprintf("wire-%d", id)) }

// Exists reports whether anything of a network of this process is there.
func Exists(id int) bool { return pair(id).Exists() }

func (n *Network) setUp() (err error) {
	if err := n.pair.Create(""); err != nil {
		return err
	}
	if n.client, err = namespace.OpenTUN(n.pair.Client, clientDevice); err != nil {
		return err
	}
	if n.internet, err = namespace.OpenTUN(n.pair.Internet, internetDevice); err != nil {
		return err
	}
	if err := configure(n.pair); err != nil {
		return err
	}
	n.toClient = delay.NewQueue(n.client)
	n.routing.Go(n.toClient.Run)
	n.routing.Go(func() { forEachPacket(n.client, n.fromClient) })
	n.routing.Go(func() { forEachPacket(n.internet, n.fromInternet) })
	if err := n.serveDNS(); err != nil {
		return err
	}
	return n.serveWeb()
}

// Close ends and removes all that New made.
func (n *Network) Close() error {
	for _, end := range n.servers {
		end()
	}
	for _, device := range []io.Closer{n.client, n.internet} {
		if device != nil {
			device.Close()
		}
	}
	if n.toClient != nil {
		n.toClient.Close()
	}
	n.routing.Wait()
	return n.pair.Remove()
}
