//go:build !unix

package loopnet

import (
	"errors"
	"net"
)

// shrink has nothing to offer here: Windows refuses the connections that do
// not fit into the queue.
func shrink(net.Listener) error {
	return errors.New("the system refuses connections beyond the backlog")
}
