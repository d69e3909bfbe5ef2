package hostwise_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hostwise-go/hostwise"
)

// These rows need routes that this machine does not have. They run in a copy
// of the test binary in a network of its own, which takes root; see network.
var routeScenarios = []scenario{
	{"no route", to("203.0.113.1"), connectError, hostwise.LocalOutage, connect, false, is(syscall.ENETUNREACH), nobody},
	{"an unreachable route of our own", to("198.51.100.1"), connectError, hostwise.LocalOutage, connect, false, is(syscall.EHOSTUNREACH), nobody},
	{"a prohibited route of our own", to("198.51.100.65"), connectError, hostwise.LocalDenied, connect, false, is(syscall.EACCES), nobody},
	{"a route into nothing", to("198.51.100.129"), connectError, hostwise.LocalOutage, connect, false, is(syscall.EINVAL), nobody},
	{"ICMP: host unreachable", to("192.0.2.1"), connectError, hostwise.ConnectUnreachable, connect, false, is(syscall.EHOSTUNREACH), host},
	{"ICMP: administratively prohibited", to("192.0.2.65"), connectError, hostwise.ConnectUnreachable, connect, false, is(syscall.EHOSTUNREACH), host},
	{"ICMP: network unreachable", to("192.0.2.129"), connectError, hostwise.ConnectUnreachable, connect, false, is(syscall.ENETUNREACH), host},
	{"no answer to ARP", to("10.77.0.9"), connectError, hostwise.ConnectUnreachable, connect, false, is(syscall.EHOSTUNREACH), host},
	{"no route for either family", noRoute, connectError, hostwise.LocalOutage, connect, false, is(syscall.ENETUNREACH), nobody},
}

// These use up what the process has; they run in a copy of the test binary,
// one at a time.
var limitScenarios = []scenario{
	{"no file descriptor to connect with", noFiles(atPort), connectError, hostwise.LocalFDs, connect, false, is(syscall.EMFILE), nobody},
	{"no file descriptor to ask with", noFiles(atNameserver), dnsError, hostwise.LocalFDs, resolve, false, is(syscall.EMFILE), nobody},
}

// These use up the local ports, in a network of their own that has a few.
var portScenarios = []scenario{
	{"no local port to connect from", noPorts(atPort, "tcp4"), connectError, hostwise.LocalPorts, connect, false, is(syscall.EADDRNOTAVAIL), nobody},
	{"no local port to ask from", noPorts(atNameserver, "udp4"), dnsError, hostwise.LocalPorts, resolve, false, is(syscall.EAGAIN), nobody},
	{"no route to the nameserver", unroutedNameserver, dnsError, hostwise.LocalOutage, resolve, false, is(syscall.EHOSTUNREACH), nobody},
	{"no route to a nameserver over TCP", unroutedStream, dnsError, hostwise.LocalOutage, resolve, false, is(syscall.EHOSTUNREACH), nobody},
}

// childScenario tells a copy of the test binary that it is one.
const childScenario = "HOSTWISE_TEST_SCENARIOS"

func TestScenarios_Routes(t *testing.T) {
	inChild(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}, func() {
		network(t)
		runScenarios(t, routeScenarios, len(routeScenarios))
	})
}

func TestScenarios_Limits(t *testing.T) {
	inChild(t, nil, func() {
		runScenarios(t, limitScenarios, 1)
	})
}

func TestScenarios_Ports(t *testing.T) {
	inChild(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}, func() {
		for _, line := range []string{
			"ip link set lo up", "sysctl -q -w net.ipv4.ip_local_port_range=40000\t40015",
			"ip route add unreachable 203.0.113.0/24", "ip route add default dev lo", // without one the first failure is an outage
		} {
			configure(t, line)
		}
		runScenarios(t, portScenarios, 1)
	})
}

// inChild runs f in a copy of this process.
func inChild(t *testing.T, attr *syscall.SysProcAttr, f func()) {
	t.Helper()
	if os.Getenv(childScenario) != "" {
		f()
		return
	}
	if attr != nil && os.Geteuid() != 0 {
		t.Skip("a network of its own takes root")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), childScenario+"=1")
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && len(out) == 0:
		t.Skip("no process with a network of its own here:", err)
	case strings.Contains(string(out), "--- SKIP: "+t.Name()+" "):
		t.Skipf("in the child:\n%s", out)
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" "):
		t.Errorf("%v\n%s", err, out)
	}
}

// network gives this process's network, which is empty, some routes and a
// router.
func network(t *testing.T) {
	router := exec.Command("sleep", "60")
	router.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := router.Start(); err != nil {
		t.Skip("no router:", err)
	}
	t.Cleanup(func() {
		router.Process.Kill()
		router.Wait()
	})
	pid := strconv.Itoa(router.Process.Pid)
	here, there := "", "nsenter -n -t "+pid+" "
	for _, line := range []string{
		here + "ip link set lo up",
		here + "ip link add v0 type veth peer name v1 netns " + pid,
		here + "ip addr add 10.77.0.2/24 dev v0",
		here + "ip link set v0 up",
		there + "ip addr add 10.77.0.1/24 dev v1",
		there + "ip link set lo up",
		there + "ip link set v1 up",
		there + "sysctl -q -w net.ipv4.ip_forward=1",
		there + "sysctl -q -w net.ipv4.icmp_ratelimit=0",
		there + "ip route add unreachable 192.0.2.0/26",
		there + "ip route add prohibit 192.0.2.64/26",
		// Of such errors a router sends each address five at once.
		here + "ip addr add 10.77.0.3/24 dev v0",
		here + "ip addr add 10.77.0.4/24 dev v0",
		here + "ip route add 192.0.2.0/26 via 10.77.0.1 src 10.77.0.3",
		here + "ip route add 192.0.2.64/26 via 10.77.0.1 src 10.77.0.4",
		here + "ip route add 192.0.2.128/25 via 10.77.0.1",
		here + "ip route add unreachable 198.51.100.0/26",
		here + "ip route add prohibit 198.51.100.64/26",
		here + "ip route add blackhole 198.51.100.128/26",
		here + "sysctl -q -w net.ipv4.neigh.v0.retrans_time_ms=50 net.ipv4.neigh.v0.mcast_solicit=1",
	} {
		configure(t, line)
	}
}

// configure runs a command, whose words are divided by single blanks.
func configure(t *testing.T, line string) {
	args := strings.Split(line, " ")
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Skipf("%s: %v: %s", line, err, out)
	}
}

// to is a host with one address.
func to(addr string) fixture { return dials(addr) }

// noRoute is a name with addresses of both families, with routes to none.
func noRoute(l *lab) string {
	l.kernel()
	return l.hostAt("80", "203.0.113.1", "2001:db8::1")
}

// noFiles leaves the process without a file descriptor when all is ready.
func noFiles(f fixture) fixture {
	return func(l *lab) string {
		l.atOnce = true
		url := f(l)
		limit := syscall.Rlimit{Cur: 256, Max: 256}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			l.t.Skip("the limit cannot be set here:", err)
		}
		l.first = func() {
			for {
				f, err := os.Open(os.DevNull)
				if err != nil {
					return
				}
				l.keep(f)
			}
		}
		return url
	}
}

// noPorts leaves the process's network without a local port when all is ready.
func noPorts(f fixture, network string) fixture {
	return func(l *lab) string {
		l.atOnce = true
		url := f(l)
		target := localhost + url[strings.LastIndexByte(url, ':'):]
		if network == "udp4" {
			target = l.dns.Servers[0]
		}
		l.first = func() {
			for {
				c, err := net.Dial(network, target)
				if err != nil {
					return
				}
				l.keep(c)
			}
		}
		return url
	}
}

func unroutedNameserver(l *lab) string {
	l.atOnce = true
	l.dns.Hosts = map[string][]netip.Addr{}
	l.dns.Servers = []string{"203.0.113.53"}
	return "http://" + hostName
}

func unroutedStream(l *lab) string {
	url := unroutedNameserver(l)
	l.dns.Servers = []string{"tcp://203.0.113.53"}
	return url
}

func atPort(l *lab) string { return httpURL(portOf(l.listen().Addr())) }

func atNameserver(l *lab) string {
	l.dns.Hosts = map[string][]netip.Addr{}
	l.dns.Servers = []string{net.JoinHostPort(localhost, l.closedPort())}
	return "http://" + hostName
}
