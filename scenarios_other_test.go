//go:build !unix

package hostwise_test

import "errors"

func (l *lab) fullPort() (string, error) {
	return "", errors.New("it refuses what does not fit into the queue")
}
