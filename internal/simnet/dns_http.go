package simnet

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// dnsMessage is the media type of RFC 8484, section 6.
const dnsMessage = "application/dns-message"

// ServeHTTP answers queries over HTTP, RFC 8484, by the same scripts: run it
// in an http.Server for DNS over HTTPS. The log has such a query as one over
// TCP. Where there is no answer, the request is held until its context or the
// server ends.
func (d *DNS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var b []byte
	var err error
	switch r.Method {
	case http.MethodGet:
		b, err = base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
	case http.MethodPost:
		b, err = io.ReadAll(io.LimitReader(r.Body, dns.MaxMsgSize))
	default:
		http.Error(w, "GET or POST", http.StatusMethodNotAllowed)
		return
	}
	query, ok := parseQuery(b)
	if err != nil || !ok {
		http.Error(w, "not a DNS query", http.StatusBadRequest)
		return
	}
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	arrived := time.Now()
	var answer []byte
	rule := d.receive(query, from, true)
	if rule != nil {
		answer = rule.reply(query, true)
	}
	if answer == nil || !d.sleepUntil(arrived.Add(rule.Delay)) {
		select {
		case <-r.Context().Done():
		case <-d.done:
		}
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", dnsMessage)
	w.Write(answer) // a failure is the client's to notice
}
