//go:build linux

package dnscache_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/miekg/dns"
)

// A product is a recursive nameserver as Debian packages it.
type product struct {
	command string
	pkg     string
	version string   // the argument that prints it
	args    []string // {{.Conf}} is the file made of conf
	conf    string

	tls       bool // it speaks DNS over TLS and HTTPS, too
	impatient bool // conf has it close a connection after a second without use

	// It mixes up the POST requests of a busy HTTP/2 connection. Knot Resolver
	// 5.6.0 forgets a request whose HEADERS and DATA frames it reads apart (its
	// daemon/http.c says so), and gives each answer to the stream before. A
	// client of net/http alone that posted 1,000 padded queries at once over
	// four connections had 205 replies to another name, 83 to the other type, a
	// status 400 and a time-out; with GET, or with unbound, none.
	singleHTTPS bool

	// Asked for both families of a name at once, it may tell of one that
	// the name does not exist, and of the other that it has no address.
	confused bool
}

var products = []product{
	{
		command: "unbound", pkg: "unbound", version: "-V", tls: true, impatient: true,
		args: []string{"-d", "-p", "-c", "{{.Conf}}"},
		conf: `
server:
  directory: "{{.Dir}}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  verbosity: 1
  do-ip6: no
  interface: 127.0.0.1@{{.DNS}}
  interface: 127.0.0.1@{{.TLS}}
  interface: 127.0.0.1@{{.HTTPS}}
  tls-port: {{.TLS}}
  https-port: {{.HTTPS}}
  tls-service-pem: "{{.Dir}}/cert.pem"
  tls-service-key: "{{.Dir}}/key.pem"
  tcp-idle-timeout: 1000
  do-not-query-localhost: no
  module-config: "iterator"
remote-control:
  control-enable: no
stub-zone:
  name: "interop.example."
  stub-addr: {{.AuthorityIP}}@{{.AuthorityPort}}
`,
	},
	{
		command: "named", pkg: "bind9", version: "-v", tls: true, impatient: true,
		args: []string{"-g", "-n", "2", "-c", "{{.Conf}}"},
		conf: `
tls certified {
  cert-file "{{.Dir}}/cert.pem";
  key-file "{{.Dir}}/key.pem";
};
http endpoint {
  endpoints { "/dns-query"; };
};
options {
  directory "{{.Dir}}";
  pid-file none;
  lock-file none;
  session-keyfile none;
  listen-on port {{.DNS}} { 127.0.0.1; };
  listen-on port {{.TLS}} tls certified { 127.0.0.1; };
  listen-on port {{.HTTPS}} tls certified http endpoint { 127.0.0.1; };
  tcp-idle-timeout 10;
  listen-on-v6 { none; };
  allow-query { 127.0.0.1; };
  dnssec-validation no;
  empty-zones-enable no;
  forward only;
  forwarders { {{.AuthorityIP}} port {{.AuthorityPort}}; };
};
controls { };
`,
	},
	{
		command: "dnsmasq", pkg: "dnsmasq-base", version: "--version",
		args:     []string{"--conf-file={{.Conf}}"},
		confused: true,
		conf: `
keep-in-foreground
user={{.User}}
pid-file=
log-facility=-
port={{.DNS}}
listen-address=127.0.0.1
bind-interfaces
no-hosts
no-resolv
dns-forward-max=1000
cache-size=2000
server=/interop.example/{{.AuthorityIP}}#{{.AuthorityPort}}
`,
	},
	{
		command: "kresd", pkg: "knot-resolver", version: "--version", tls: true,
		args:        []string{"-n", "-c", "{{.Conf}}", "{{.Dir}}"},
		singleHTTPS: true,
		conf: `
for _, m in ipairs({'priming', 'ta_update', 'ta_signal_query', 'detect_time_skew'}) do
  modules.unload(m)
end
trust_anchors.remove('.')
net.ipv6 = false
net.tls('{{.Dir}}/cert.pem', '{{.Dir}}/key.pem')
net.listen('127.0.0.1', {{.DNS}}, { kind = 'dns' })
net.listen('127.0.0.1', {{.TLS}}, { kind = 'tls' })
net.listen('127.0.0.1', {{.HTTPS}}, { kind = 'doh2' })
cache.open(10 * MB, 'lmdb://{{.Dir}}/cache')
policy.add(policy.suffix(policy.STUB('{{.AuthorityIP}}@{{.AuthorityPort}}'), {todname('interop.example.')}))
`,
	},
}

// settings are what the configurations are filled in with.
type settings struct {
	Dir, Conf, User            string
	AuthorityIP, AuthorityPort string
	DNS, TLS, HTTPS            int // ports
}

// A recursor is a running nameserver.
type recursor struct {
	settings
	roots  *x509.CertPool // of its certificate, if it has one
	output syncBuffer
	exited chan struct{} // closed when the process has ended
}

// start runs the nameserver until the test ends, or skips the test if it is
// not installed.
func (p product) start(t *testing.T, a *authority) *recursor {
	t.Helper()
	r := &recursor{exited: make(chan struct{})}
	r.Dir = t.TempDir()
	r.Conf = filepath.Join(r.Dir, "conf")
	r.DNS = freePort(t)
	if p.tls {
		r.TLS, r.HTTPS = freePort(t), freePort(t)
		r.roots = writeCertificate(t, r.Dir)
	}
	r.AuthorityIP, r.AuthorityPort, _ = net.SplitHostPort(a.addr)
	if u, err := user.Current(); err == nil {
		r.User = u.Username
	}
	binary := p.install(t, r.Dir)
	if err := os.WriteFile(r.Conf, []byte(r.fill(t, p.conf)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary)
	for _, arg := range p.args {
		cmd.Args = append(cmd.Args, r.fill(t, arg))
	}
	cmd.Dir = r.Dir
	cmd.Stdout, cmd.Stderr = &r.output, &r.output
	// The group is killed, since dnsmasq forks for TCP; should this process
	// be killed, the kernel sees to it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(r.exited)
	}()
	t.Cleanup(func() { // t.Context has ended
		<-r.exited
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.command, r.output.tail(4000))
		}
	})
	r.awaitReady(t)
	return r
}

// install copies the nameserver's program to dir, out of the reach of
// AppArmor, whose profiles go by path and would deny it the files there.
func (p product) install(t *testing.T, dir string) string {
	t.Helper()
	path, err := exec.LookPath(p.command)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + p.command) // often not in PATH
	}
	if err != nil {
		t.Skipf("%s is not installed: apt-get install %s", p.command, p.pkg)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, p.command)
	if err := os.WriteFile(binary, b, 0o700); err != nil {
		t.Fatal(err)
	}
	version, _ := exec.Command(path, p.version).Output()
	line, _, _ := strings.Cut(string(version), "\n")
	t.Logf("%s: %s", p.command, line)
	return binary
}

func (r *recursor) fill(t *testing.T, text string) string {
	t.Helper()
	tmpl, err := template.New("").Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, r.settings); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// freePort returns a port that is free for UDP and TCP, from below the range
// that Linux gives to clients, so that it stays free.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(20000)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		pc, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			pc.Close()
			return port
		}
	}
	t.Fatal("no free port in 100 tries")
	return 0
}

// awaitReady waits until the nameserver answers.
func (r *recursor) awaitReady(t *testing.T) {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", r.DNS)
	deadline := time.After(20 * time.Second)
	for {
		err := r.ask(addr)
		if err == nil {
			return
		}
		select {
		case <-r.exited:
			t.Fatal("the nameserver ended before it was ready")
		case <-deadline:
			t.Fatalf("the nameserver is not ready after 20 s: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *recursor) ask(addr string) error {
	q := new(dns.Msg).SetQuestion("ns."+origin, dns.TypeA)
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, Timeout: time.Second}
		m, _, err := c.Exchange(q, addr)
		switch {
		case err != nil:
			return err
		case m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1:
			return errors.New(m.String())
		}
	}
	if r.roots == nil {
		return nil
	}
	for _, port := range []int{r.TLS, r.HTTPS} {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{RootCAs: r.roots})
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}

// A syncBuffer collects a process's output.
type syncBuffer struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// tail returns the last n bytes.
func (s *syncBuffer) tail(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.b.Bytes()
	return string(b[max(0, len(b)-n):])
}
