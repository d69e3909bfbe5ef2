package transport

import (
	"context"
	"net"
	"net/http/httptrace"
	"net/netip"
	"reflect"

	"github.com/hostwise-go/hostwise/internal/failure"
)

// trace calls one of the user's hooks, if there are any.
func (d *dial) trace(run func(*httptrace.ClientTrace)) {
	switch {
	case d.user == nil:
	case d.journey != nil:
		d.journey.hook(d.user, run)
	default:
		run(d.user)
	}
}

// announce tells the user's trace what was resolved, once.
func (d *dial) announce() {
	if d.announced {
		return
	}
	d.announced = true
	d.trace(func(u *httptrace.ClientTrace) {
		if u.DNSDone == nil {
			return
		}
		var info httptrace.DNSDoneInfo
		for _, addrs := range d.answers {
			for _, a := range addrs {
				info.Addrs = append(info.Addrs, net.IPAddr{IP: a.AsSlice(), Zone: a.Zone()})
			}
		}
		if e := failure.Resolve(d.errs[0], d.errs[1]); len(info.Addrs) == 0 && e != nil {
			info.Err = e
		}
		u.DNSDone(info)
	})
}

func (d *dial) connectDone(a netip.AddrPort, err error) {
	d.trace(func(u *httptrace.ClientTrace) {
		if u.ConnectDone != nil {
			u.ConnectDone("tcp", a.String(), err)
		}
	})
}

// withoutTrace is a context without httptrace's hooks: attempts run in
// parallel, and the hooks are not made for that. The journey calls them.
type withoutTrace struct{ context.Context }

func (c withoutTrace) Value(key any) any {
	switch reflect.TypeOf(key).PkgPath() {
	case "net/http/httptrace", "internal/nettrace":
		return nil
	}
	return c.Context.Value(key)
}
