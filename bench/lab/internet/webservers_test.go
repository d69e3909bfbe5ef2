//go:build linux

package internet

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// get asks the server at ip for a page and returns the answer and its time.
func get(ctx context.Context, s *webServers, ip netip.Addr, host, page string) (*http.Response, time.Duration) {
	local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 80))
	req := httptest.NewRequestWithContext(context.WithValue(ctx, http.LocalAddrContextKey, local), "GET", "http://"+host+page, nil)
	rec := httptest.NewRecorder()
	start := time.Now()
	s.ServeHTTP(rec, req)
	return rec.Result(), time.Since(start)
}

func TestWebServers_PageOfAHost(t *testing.T) {
	w := noLoss(t)
	closing := webHost(t, w, func(h *world.Host) bool { return h.Fate == world.OK && h.Closes })
	lasting := webHost(t, w, func(h *world.Host) bool { return h.Fate == world.OK && !h.Closes })
	synctest.Test(t, func(t *testing.T) {
		s := &webServers{w: w, router: newRouter(w, newDevice(), newDevice()), text: []byte(strings.Repeat(".", 1<<14))}
		for _, h := range []*world.Host{closing, lasting} {
			resp, took := get(t.Context(), s, h.V4[0].IP, h.Name, "/p/17")
			if resp.StatusCode != 200 || took != w.Think(h, 17) {
				t.Errorf("%s: got %s after %v, want 200 after %v", h.Name, resp.Status, took, w.Think(h, 17))
			}
			if got := resp.Header.Get("Connection") == "close"; got != h.Closes {
				t.Errorf("%s: closes: got %v, want %v", h.Name, got, h.Closes)
			}
		}
		if resp, _ := get(t.Context(), s, lasting.V4[0].IP, closing.Name, "/p/17"); resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("page of another host: got %s", resp.Status)
		}
		if requests, wrong := s.requests.Load(), s.wrongHost.Load(); requests != 3 || wrong != 1 {
			t.Errorf("got %d requests, %d for a wrong host, want 3 and 1", requests, wrong)
		}
	})
}

func TestWebServers_MuteHostWaitsForTheClientToGo(t *testing.T) {
	w := noLoss(t)
	mute := webHost(t, w, func(h *world.Host) bool { return h.Fate == world.Mute })
	synctest.Test(t, func(t *testing.T) {
		s := &webServers{w: w, router: newRouter(w, newDevice(), newDevice())}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, took := get(ctx, s, mute.V4[0].IP, mute.Name, "/p/1"); took != 10*time.Second {
			t.Errorf("took %v, want 10s", took)
		}
	})
}
