package hostwisecolly

import (
	"compress/gzip"
	"errors"
	"net/http"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
)

// Kinds of Colly's own outcomes, which Kind adds to those of package
// hostwise. None is Retryable. A status that Colly takes for an error, from 203
// on, is hostwise.HTTPStatus.
const (
	ForbiddenDomain hostwise.Kind = "colly_forbidden_domain" // AllowedDomains, DisallowedDomains
	ForbiddenURL    hostwise.Kind = "colly_forbidden_url"    // URLFilters, DisallowedURLFilters
	RobotsBlocked   hostwise.Kind = "colly_robots"           // robots.txt says no
	AlreadyVisited  hostwise.Kind = "colly_already_visited"  // asked for, or redirected to, again
	MaxDepth        hostwise.Kind = "colly_max_depth"
	MaxRequests     hostwise.Kind = "colly_max_requests"
	Aborted         hostwise.Kind = "colly_aborted"    // Abort in OnRequestHeaders or OnResponseHeaders
	QueueFull       hostwise.Kind = "colly_queue_full" // a queue's storage has reached its MaxSize
)

// Kind returns the reason of an error in one word: a Kind of package
// hostwise, or one of Colly's own outcomes. The arguments are those of
// OnError; r is nil for an error that Visit returned. Kind(r, nil) is "":
// a request aborted in OnRequest is no error to Colly.
func Kind(r *colly.Response, err error) hostwise.Kind {
	if k := hostwise.KindOf(err); k != hostwise.Other {
		return k
	}
	var visited *colly.AlreadyVisitedError
	if errors.As(err, &visited) {
		return AlreadyVisited
	}
	for _, o := range []struct {
		err  error
		kind hostwise.Kind
	}{
		{colly.ErrForbiddenDomain, ForbiddenDomain},
		{colly.ErrForbiddenURL, ForbiddenURL},
		{colly.ErrNoURLFiltersMatch, ForbiddenURL},
		{colly.ErrRobotsTxtBlocked, RobotsBlocked},
		{colly.ErrMaxDepth, MaxDepth},
		{colly.ErrMaxRequests, MaxRequests},
		{colly.ErrAbortedBeforeRequest, Aborted},
		{colly.ErrAbortedAfterHeaders, Aborted},
		{colly.ErrQueueFull, QueueFull},
		{colly.ErrMissingURL, hostwise.BadURL},
		{gzip.ErrHeader, hostwise.HTTPMalformed},
		{gzip.ErrChecksum, hostwise.HTTPMalformed},
	} {
		if errors.Is(err, o.err) {
			return o.kind
		}
	}
	if isURLError(err) {
		return hostwise.BadURL
	}
	// Colly's error for a status is the bare text of it.
	if r != nil && r.StatusCode >= 203 && err.Error() == http.StatusText(r.StatusCode) {
		return hostwise.HTTPStatus
	}
	return hostwise.Other
}

// isURLError knows the errors of Colly's URL parser, a package of its own.
func isURLError(err error) bool {
	var e interface {
		error
		Url() string
		Failure() bool
	}
	return errors.As(err, &e)
}
