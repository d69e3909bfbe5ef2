package dns

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// serve is set in the environment of a test binary that is to be a server.
const serve = "HOSTWISE_BENCH_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serve) == "" {
		os.Exit(m.Run())
	}
	s, err := newServer()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.addr)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
}

// answerTTL is the TTL of every answer, in seconds.
const answerTTL = 3600

// answer turns the query in b[:n] into its reply, one address, in place. b
// has room for it.
func answer(b []byte, n int) []byte {
	if n < 17 {
		return nil
	}
	end := 12
	for end < n && b[end] != 0 {
		end += 1 + int(b[end])
	}
	if end += 5; end > n {
		return nil
	}
	qtype, addr := binary.BigEndian.Uint16(b[end-4:]), []byte{192, 0, 2, 1}
	if qtype == 28 {
		addr = net.ParseIP("2001:db8::1")
	}
	copy(b[2:], []byte{0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0})                     // flags and counts
	b = append(b[:end], 0xc0, 12, 0, byte(qtype), 0, 1)                         // the question's name, type and class
	b = append(binary.BigEndian.AppendUint32(b, answerTTL), 0, byte(len(addr))) // TTL and length
	return append(b, addr...)
}

// A server answers every query on a UDP socket of the loopback interface,
// using as little time as it can: many packets a system call, where the
// system has such a call.
type server struct {
	addr    string
	conn    *net.UDPConn
	queries atomic.Int64
	delay   time.Duration // before an answer
}

func newServer() (*server, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(4 << 20)
	s := &server{addr: conn.LocalAddr().String(), conn: conn}
	go s.run()
	return s, nil
}

func (s *server) run() {
	conn := ipv4.NewPacketConn(s.conn)
	messages := make([]ipv4.Message, 64)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 1500)}
	}
	replies := make([]ipv4.Message, 0, len(messages))
	for {
		n, err := conn.ReadBatch(messages, 0)
		if err != nil {
			return
		}
		s.queries.Add(int64(n))
		time.Sleep(s.delay)
		replies = replies[:0]
		for _, m := range messages[:n] {
			if b := answer(m.Buffers[0], m.N); b != nil {
				replies = append(replies, ipv4.Message{Buffers: [][]byte{b}, Addr: m.Addr})
			}
		}
		for sent := 0; sent < len(replies); {
			n, err := conn.WriteBatch(replies[sent:], 0)
			if err != nil {
				return
			}
			sent += n
		}
	}
}

// localServer starts a server in this process.
func localServer(b *testing.B) *server {
	s, err := newServer()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.conn.Close() })
	return s
}

// remoteServer starts a server in a process of its own and returns its
// address.
func remoteServer(b *testing.B) string {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), serve+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}
