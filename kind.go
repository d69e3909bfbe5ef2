package hostwise

// A Kind says what went wrong, in one word. The same strings appear in
// errors, statistics and logs, so they can be counted and searched.
// KindOf finds the Kind of any error.
type Kind string

// A Phase is the part of a request's journey in which it failed.
type Phase string

const (
	PhaseResolve Phase = "resolve" // name to addresses
	PhaseConnect Phase = "connect" // address (or proxy) to connection
	PhaseTLS     Phase = "tls"     // TLS handshake
	PhaseRequest Phase = "request" // request sent, response headers awaited
	PhaseBody    Phase = "body"    // response headers received, body being read
)

const (
	// The name did not resolve (DNSError).
	DNSNXDomain          Kind = "dns_nxdomain"           // the name does not exist: RFC 1035, section 4.1.1, RCODE 3
	DNSNoData            Kind = "dns_nodata"             // the name exists, but has no address: RFC 2308, section 2.2
	DNSServFail          Kind = "dns_servfail"           // the nameserver failed: RCODE 2
	DNSRefused           Kind = "dns_refused"            // the nameserver refused: RCODE 5
	DNSFormErr           Kind = "dns_formerr"            // the nameserver did not understand the query: RCODE 1
	DNSLame              Kind = "dns_lame"               // the nameserver answered with a referral or an RCODE without meaning for us
	DNSBogus             Kind = "dns_bogus"              // DNSSEC validation failed: RFC 8914, codes 5 to 12
	DNSBlocked           Kind = "dns_blocked"            // blocked, censored, filtered or prohibited: RFC 8914, codes 15 to 18
	DNSTimeout           Kind = "dns_timeout"            // no nameserver answered in time
	DNSServerUnreachable Kind = "dns_server_unreachable" // no nameserver could be reached
	DNSTruncated         Kind = "dns_truncated"          // truncated over UDP and not to be had over TCP: RFC 7766
	DNSMalformed         Kind = "dns_malformed"          // the answer could not be parsed
	DNSCNAMELoop         Kind = "dns_cname_loop"         // the aliases form a loop or too long a chain
	DNSBadName           Kind = "dns_bad_name"           // not a domain name: RFC 1035, section 2.3.4

	// No address could be reached (ConnectError).
	ConnectRefused     Kind = "connect_refused"
	ConnectTimeout     Kind = "connect_timeout"
	ConnectUnreachable Kind = "connect_unreachable" // the network says there is no way to the host
	ConnectReset       Kind = "connect_reset"

	// Connected, but the TLS handshake failed (TLSError).
	TLSUnknownCA Kind = "tls_unknown_ca"
	TLSHostname  Kind = "tls_hostname"
	TLSExpired   Kind = "tls_expired"
	TLSInvalid   Kind = "tls_invalid" // any other fault of the certificate
	TLSAlert     Kind = "tls_alert"   // the server broke the handshake off with an alert: RFC 8446, section 6
	TLSNotTLS    Kind = "tls_not_tls" // the port does not speak TLS
	TLSTimeout   Kind = "tls_timeout"
	TLSEOF       Kind = "tls_eof"
	TLSReset     Kind = "tls_reset"

	// Connected, but no usable response headers (RequestError).
	HTTPEOF            Kind = "http_eof" // closed before the headers
	HTTPReset          Kind = "http_reset"
	HTTPHeaderTimeout  Kind = "http_header_timeout"
	HTTPWriteTimeout   Kind = "http_write_timeout" // the server did not take the request
	HTTPMalformed      Kind = "http_malformed"
	HTTPHeaderTooLarge Kind = "http_header_too_large"
	HTTPBodyTimeout    Kind = "http_body_timeout"   // headers received, then the body stalled, was too slow, or the deadline came
	HTTPBodyTooLarge   Kind = "http_body_too_large" // transport.Options.MaxBodyBytes
	HTTPStatus         Kind = "http_status"         // a status that somebody takes for a failure: BreakerOptions.TripOn, in HostDownError.Last, and Colly
	H2GoAway           Kind = "h2_goaway"           // RFC 9113, section 6.8
	H2RefusedStream    Kind = "h2_refused_stream"   // RFC 9113, section 8.7
	TooManyDials       Kind = "too_many_dials"      // one request used up its connections

	// The proxy failed, not the host (ConnectError with Proxy set).
	ProxyConnect Kind = "proxy_connect" // the proxy could not be reached
	ProxyDNS     Kind = "proxy_dns"     // the proxy's name did not resolve
	ProxyAuth    Kind = "proxy_auth"    // the proxy asks for other credentials
	ProxyGateway Kind = "proxy_gateway" // the proxy could not reach the host
	ProxyTimeout Kind = "proxy_timeout" // the proxy did not answer in time

	// Not tried (HostDownError, DeniedError).
	HostDown     Kind = "host_down"
	HostPaused   Kind = "host_paused"
	PolicyDenied Kind = "policy_denied"

	// It is us, not them (DNSError or ConnectError).
	LocalFDs    Kind = "local_fds"    // EMFILE, ENFILE: no file descriptor left
	LocalPorts  Kind = "local_ports"  // EADDRNOTAVAIL, EADDRINUSE, EAGAIN: no local port left
	LocalDenied Kind = "local_denied" // EACCES, EPERM: a local firewall or policy
	LocalOutage Kind = "local_outage" // the local network is down, or has no route

	// The caller's doing, or nobody's.
	Canceled Kind = "canceled"
	Deadline Kind = "deadline" // the context's deadline passed before any phase could be blamed
	BadURL   Kind = "bad_url"

	Other Kind = "other" // an error that hostwise did not make and does not know
)

// kindInfo is what follows from a Kind alone.
type kindInfo struct {
	text      string // the words of the message, those of package net where it has any
	timeout   bool   // net.Error's Timeout
	retryable bool
}

var kinds = map[Kind]kindInfo{
	DNSNXDomain:          {text: "no such host"},
	DNSNoData:            {text: "no such host (no address records)"},
	DNSServFail:          {text: "server misbehaving (SERVFAIL)", retryable: true},
	DNSRefused:           {text: "server misbehaving (REFUSED)"},
	DNSFormErr:           {text: "server misbehaving (FORMERR)"},
	DNSLame:              {text: "lame referral"},
	DNSBogus:             {text: "server misbehaving (DNSSEC bogus)"},
	DNSBlocked:           {text: "blocked by the nameserver"},
	DNSTimeout:           {text: "i/o timeout", timeout: true, retryable: true},
	DNSServerUnreachable: {text: "nameserver unreachable", retryable: true},
	DNSTruncated:         {text: "truncated answer", retryable: true},
	DNSMalformed:         {text: "cannot unmarshal DNS message", retryable: true},
	DNSCNAMELoop:         {text: "CNAME loop"},
	DNSBadName:           {text: "no such host: not a domain name"},

	ConnectRefused:     {text: "connection refused", retryable: true},
	ConnectTimeout:     {text: "i/o timeout", timeout: true, retryable: true},
	ConnectUnreachable: {text: "host unreachable", retryable: true},
	ConnectReset:       {text: "connection reset by peer", retryable: true},

	TLSUnknownCA: {text: "certificate signed by unknown authority"},
	TLSHostname:  {text: "certificate is for another host"},
	TLSExpired:   {text: "certificate has expired or is not yet valid"},
	TLSInvalid:   {text: "certificate invalid"},
	TLSAlert:     {text: "remote error"},
	TLSNotTLS:    {text: "first record does not look like a TLS handshake"},
	TLSTimeout:   {text: "i/o timeout", timeout: true, retryable: true},
	TLSEOF:       {text: "EOF", retryable: true},
	TLSReset:     {text: "connection reset by peer", retryable: true},

	HTTPEOF:            {text: "EOF", retryable: true},
	HTTPReset:          {text: "connection reset by peer", retryable: true},
	HTTPHeaderTimeout:  {text: "i/o timeout awaiting response headers", timeout: true, retryable: true},
	HTTPWriteTimeout:   {text: "i/o timeout sending the request", timeout: true, retryable: true},
	HTTPMalformed:      {text: "malformed HTTP response"},
	HTTPHeaderTooLarge: {text: "response headers too large"},
	HTTPBodyTimeout:    {text: "i/o timeout reading the body", timeout: true, retryable: true},
	HTTPBodyTooLarge:   {text: "body too large"},
	HTTPStatus:         {text: "status taken for a failure"},
	H2GoAway:           {text: "server sent GOAWAY", retryable: true},
	H2RefusedStream:    {text: "server refused the stream", retryable: true},
	TooManyDials:       {text: "too many connections for one request"},

	ProxyConnect: {text: "proxy not reachable", retryable: true},
	ProxyDNS:     {text: "no such proxy"},
	ProxyAuth:    {text: "proxy authentication required"},
	ProxyGateway: {text: "proxy could not reach the host", retryable: true},
	ProxyTimeout: {text: "i/o timeout at the proxy", timeout: true, retryable: true},

	HostDown:     {text: "host down", retryable: true},
	HostPaused:   {text: "host paused", retryable: true},
	PolicyDenied: {text: "address denied"},

	LocalFDs:    {text: "too many open files", retryable: true},
	LocalPorts:  {text: "no local port left", retryable: true},
	LocalDenied: {text: "denied by the local system"},
	LocalOutage: {text: "local network is down", retryable: true},

	Canceled: {text: "canceled"},
	Deadline: {text: "deadline exceeded", timeout: true, retryable: true},
	BadURL:   {text: "bad URL"},
	Other:    {text: "failed"},
}

// Timeout reports whether k is a timeout in the sense of net.Error.
func (k Kind) Timeout() bool { return kinds[k].timeout }

// Retryable reports whether the same request may succeed later, as far as
// k can tell; see the function Retryable.
func (k Kind) Retryable() bool { return kinds[k].retryable }

func (k Kind) text() string {
	if i, ok := kinds[k]; ok {
		return i.text
	}
	return string(k)
}
