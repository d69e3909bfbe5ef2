package transport

import (
	"fmt"
	"slices"
	"time"
)

// BreakerOptions configures the circuit breaker of a Transport. Every zero
// field means the documented default.
//
// A host is down after several failures in a row, however long they take:
// requests to it fail at once with a hostwise.HostDownError. After the
// cool-down one request is let through. If it fails, the next cool-down is
// twice as long; if it is answered, the host is up again. What has nothing
// to do with the host does not count: failures of DNS, of a proxy, of this
// machine, refusals of PublicOnly, and requests that their caller gave up
// before the host had its time; a dial goes on until it has.
type BreakerOptions struct {
	// Failures is the number of failures in a row after which a host is
	// down. Default: 5; at most 1000; negative: a host that has answered
	// before never is.
	Failures int

	// FirstFailures is the same for a host that has never answered.
	// Default: 3, or Failures if that is less; negative: as many as Failures.
	FirstFailures int

	// Cooldown is the time, give or take a tenth, for which a host is left
	// alone when it has gone down, and MaxCooldown what doubling leads to.
	// Defaults: 30 s and 1 h (or Cooldown, if that is more); MaxCooldown
	// negative: no doubling.
	Cooldown    time.Duration
	MaxCooldown time.Duration

	// Key groups hosts that go down together: it is called with the
	// host:port of a request (or of its proxy), in lower case, and must
	// always make the same of it, such as its registered domain. It is
	// called several times for each request. Errors name the request's own
	// host:port. Default: each host:port for itself.
	Key func(hostPort string) string

	// TripOn are HTTP statuses that count as failures, 200 to 999. The
	// responses are returned as they are; in HostDownError.Last such a failure
	// has Kind hostwise.HTTPStatus. Those of http requests through a proxy do
	// not count, since they may be the proxy's. Default: none, since a host
	// that answers is not down.
	TripOn []int

	// HonorRetryAfter pauses a host that answers with status 429 or 503 and
	// a Retry-After (RFC 9110, section 10.2.3), until then, or for
	// MaxCooldown at most: requests fail with a hostwise.HostDownError of
	// Kind hostwise.HostPaused. Answers to requests under way do not end the
	// pause. It is no failure, also when TripOn has the status; and as with
	// TripOn, the host must be the one that answers. Default: off.
	HonorRetryAfter bool

	// OnChange is called after each change of a host's state, one after the
	// other, by the request that has brought it about or noticed it, while no
	// lock is held. It delays that request, and other changes. Default:
	// nothing.
	OnChange func(HostChange)

	// Disable switches the breaker off, and with it the bound on the dials at
	// a time to a host that has never answered.
	Disable bool
}

const (
	defaultFailures      = 5
	defaultFirstFailures = 3
	maxFailures          = 1000
	defaultCooldown      = 30 * time.Second
	defaultMaxCooldown   = time.Hour
	longestCooldown      = 100 * 365 * 24 * time.Hour // for ever: twice that is still a Duration
)

// setDefaults sets every field; negative numbers of failures remain.
func (o *BreakerOptions) setDefaults() error {
	switch {
	case o.Failures > maxFailures || o.FirstFailures > maxFailures:
		return fmt.Errorf("transport: Options.Breaker: Failures %d and FirstFailures %d must be at most %d", o.Failures, o.FirstFailures, maxFailures)
	case o.Cooldown < 0:
		return fmt.Errorf("transport: Options.Breaker.Cooldown is %v, must not be negative; zero is the default, Disable switches the breaker off", o.Cooldown)
	case o.MaxCooldown > 0 && o.MaxCooldown < first(o.Cooldown, defaultCooldown):
		return fmt.Errorf("transport: Options.Breaker.MaxCooldown is %v, must be at least Cooldown, %v", o.MaxCooldown, first(o.Cooldown, defaultCooldown))
	}
	for _, status := range o.TripOn {
		if status < 200 || status > 999 {
			return fmt.Errorf("transport: Options.Breaker.TripOn has %d, must be the status of a response, 200 to 999", status)
		}
	}
	o.TripOn = slices.Clone(o.TripOn)
	o.Failures = first(o.Failures, defaultFailures)
	if o.FirstFailures == 0 {
		o.FirstFailures = defaultFirstFailures
		if o.Failures > 0 {
			o.FirstFailures = min(o.FirstFailures, o.Failures)
		}
	}
	o.Cooldown = min(first(o.Cooldown, defaultCooldown), longestCooldown)
	o.MaxCooldown = min(o.MaxCooldown, longestCooldown)
	switch {
	case o.MaxCooldown < 0:
		o.MaxCooldown = o.Cooldown
	case o.MaxCooldown == 0:
		o.MaxCooldown = max(defaultMaxCooldown, o.Cooldown)
	}
	return nil
}
