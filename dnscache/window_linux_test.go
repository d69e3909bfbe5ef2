package dnscache_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/miekg/dns"
)

// The kernel drops nothing of a burst that a server of one thread answers,
// whose socket is of the usual size. One clean burst of five will do: a machine
// that stands still for 0.4 s opens the window.
func TestWindow_FitsAServersSocket(t *testing.T) {
	var drops []string
	for range 5 {
		d := dropsOfABurst(t)
		if d == "0" {
			return
		}
		drops = append(drops, d)
	}
	t.Errorf("the kernel dropped %v of 300 queries, want 0 once", drops)
}

func dropsOfABurst(t *testing.T) string {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetReadBuffer(212992 / 2); err != nil { // Linux doubles it
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer pc.Close()
	wg.Go(func() {
		time.Sleep(50 * time.Millisecond) // the window is full
		buf := make([]byte, 512)
		for i := 0; ; i++ {
			if i < 64 { // a quarter of the socket's room
				time.Sleep(time.Millisecond)
			}
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			q := new(dns.Msg)
			if err != nil || q.Unpack(buf[:n]) != nil {
				return
			}
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
				A:   net.IPv4(192, 0, 2, 1),
			}}
			b, _ := m.Pack()
			_, _ = pc.WriteToUDPAddrPort(b, from)
		}
	})
	r, err := dnscache.New(&dnscache.Options{Servers: []string{pc.LocalAddr().String()}, HostsFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var lookups sync.WaitGroup
	for _, h := range names(300) {
		lookups.Go(func() {
			if _, err := r.LookupNetIP(context.Background(), "ip4", h); err != nil {
				t.Error(err)
			}
		})
	}
	lookups.Wait()
	return kernelDrops(t, pc.LocalAddr().(*net.UDPAddr).Port)
}

// kernelDrops is how many packets the kernel has dropped for want of room in
// the socket on a port.
func kernelDrops(t *testing.T, port int) string {
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 13 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			return f[12]
		}
	}
	t.Fatalf("no socket on port %d in /proc/net/udp", port)
	return ""
}
