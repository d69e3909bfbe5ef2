package hostwisecolly

import (
	"context"
	"io"
	"net/http"
)

// body is a response body whose reads, once the request's context has ended,
// fail with the context's own error, bare, as those of net/http do: programs
// written for Colly, and Colly's own tests, compare it with ==.
type body struct {
	io.ReadCloser
	ctx context.Context
}

func newBody(ctx context.Context, b io.ReadCloser) io.ReadCloser {
	if b == http.NoBody {
		return b
	}
	return body{b, ctx}
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = b.ctx.Err()
	}
	return n, err
}
