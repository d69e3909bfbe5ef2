package transport

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// retryAfter is when a server that answers with status 429 or 503 wants to be
// asked again: RFC 9110, section 10.2.3. The zero time: it does not say.
func retryAfter(resp *http.Response, now time.Time) time.Time {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return time.Time{}
	}
	v := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) { // then it is 68 years
		return now.Add(time.Duration(seconds) * time.Second)
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return time.Time{}
	}
	return t
}

// pause refuses requests to a host until then, as it has asked for, and
// forgets its failures: it has answered. It reports false if there is nothing
// to wait for.
func (b *breaker) pause(host string, now, until time.Time, p *permit) bool {
	if b.opt.Disable || !until.After(now) {
		return false
	}
	if most := now.Add(b.opt.MaxCooldown); until.After(most) {
		until = most
	}
	key, s := b.of(host)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := b.entry(s, key, true, now)
	asked := pause{now, until}
	if h.pause.lasts(now) { // still the same one, and never shorter
		asked.from = h.pause.from
		if h.pause.until.After(until) {
			asked.until = h.pause.until
		}
	}
	h.answer(p, hostState{answered: true, pause: &asked})
	b.changed(s, h, now)
	return true
}
