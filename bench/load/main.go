// The load generator and the origin of all benchmarks, in one process of its own. It prints one line
// with the address of the origin, then answers each command (a line of JSON) with a line of JSON.
//
// The first byte of a connection tells the origin what to do: 'd' sends until the connection breaks,
// 'u' counts what comes, 'e' gives one byte back and closes, 'i' gives one byte back and waits.
//
// Many short connections leave many ports in TIME_WAIT. Those of the clients are spread over many
// addresses; toward the origin it is the origin that closes first, so that no relay runs out of ports.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type command struct {
	Do        string `json:"do"`
	Relay     string `json:"relay"`
	Socks     bool   `json:"socks"`
	Direction string `json:"direction"`
	Count     int    `json:"count"`
	WarmMs    int    `json:"warmMs"`
	Ms        int    `json:"ms"`
	Pid       int    `json:"pid"`
}

type answer struct {
	Bytes      int64   `json:"bytes"`
	Count      int64   `json:"count"`
	Failed     int64   `json:"failed"`
	Seconds    float64 `json:"seconds"`
	CpuSeconds float64 `json:"cpuSeconds"`
	Why        string  `json:"why"`
}

const chunkBytes = 128 << 10
const dialTimeout = 5 * time.Second

var origin *net.TCPAddr
var received atomic.Int64
var idle []net.Conn

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	must(err)
	origin = listener.Addr().(*net.TCPAddr)
	go serve(listener)
	fmt.Printf("{\"origin\":\"%s\"}\n", origin)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		must(json.Unmarshal(lines.Bytes(), &c))
		text, err := json.Marshal(run(c))
		must(err)
		fmt.Println(string(text))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(c command) answer {
	switch c.Do {
	case "throughput":
		return throughput(c)
	case "connections":
		return connections(c)
	case "open":
		return openIdle(c)
	case "close":
		for _, conn := range idle {
			conn.Close()
		}
		idle = nil
		return answer{}
	}
	return answer{Failed: 1, Why: "unknown command"}
}

func serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err == nil {
			go play(conn)
		}
	}
}

func play(conn net.Conn) {
	defer conn.Close()
	mode := []byte{0}
	if _, err := io.ReadFull(conn, mode); err != nil {
		return
	}
	switch mode[0] {
	case 'd':
		chunk := make([]byte, chunkBytes)
		for {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	case 'u':
		countInto(conn, &received)
	case 'e':
		conn.Write(mode)
	case 'i':
		conn.Write(mode)
		io.ReadFull(conn, mode)
	}
}

func countInto(conn net.Conn, total *atomic.Int64) {
	chunk := make([]byte, 2*chunkBytes)
	for {
		n, err := conn.Read(chunk)
		total.Add(int64(n))
		if err != nil {
			return
		}
	}
}

var dials atomic.Int32

func dial(c command, mode byte) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	if runtime.GOOS == "linux" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+dials.Add(1)%250))}
	}
	conn, err := dialer.Dial("tcp4", c.Relay)
	if err != nil {
		return nil, err
	}
	if c.Socks {
		if err = socks(conn); err != nil {
			conn.Close()
			return nil, err
		}
	}
	if _, err = conn.Write([]byte{mode}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// SOCKS5 without users, as RFC 1928 has it: greeting and request in two round trips.
func socks(conn net.Conn) error {
	reply := make([]byte, 10)
	if _, err := conn.Write([]byte{5, 1, 0}); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, reply[:2]); err != nil {
		return err
	}
	ip := origin.IP.To4()
	port := origin.Port
	request := []byte{5, 1, 0, 1, ip[0], ip[1], ip[2], ip[3], byte(port >> 8), byte(port)}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, reply); err != nil {
		return err
	}
	if reply[1] != 0 {
		return fmt.Errorf("the proxy says %d", reply[1])
	}
	return nil
}

func throughput(c command) answer {
	var total atomic.Int64
	counted := &total
	mode := byte('d')
	if c.Direction == "up" {
		counted, mode = &received, 'u'
	}
	var conns []net.Conn
	var over sync.WaitGroup
	for range c.Count {
		conn, err := dial(c, mode)
		if err != nil {
			return answer{Failed: 1, Why: err.Error()}
		}
		conns = append(conns, conn)
		over.Add(1)
		go func() {
			defer over.Done()
			if mode == 'd' {
				countInto(conn, &total)
				return
			}
			chunk := make([]byte, chunkBytes)
			for {
				if _, err := conn.Write(chunk); err != nil {
					return
				}
			}
		}()
	}
	time.Sleep(time.Duration(c.WarmMs) * time.Millisecond)
	result := timed(c, counted.Load)
	for _, conn := range conns {
		conn.Close()
	}
	over.Wait()
	result.Bytes, result.Count = result.Count, int64(len(conns))
	return result
}

// Counts what `total` grows by within the time, and the processor time of the relay meanwhile.
func timed(c command, total func() int64) answer {
	before, cpu, began := total(), cpuSeconds(c.Pid), time.Now()
	time.Sleep(time.Duration(c.Ms) * time.Millisecond)
	seconds, spent, count := time.Since(began).Seconds(), cpuSeconds(c.Pid)-cpu, total()-before
	return answer{Count: count, Seconds: seconds, CpuSeconds: spent}
}

// A closed loop of `count` clients: connect, a byte there, a byte back, and both ends close.
func connections(c command) answer {
	var done, failed atomic.Int64
	var stop atomic.Bool
	var over sync.WaitGroup
	var why atomic.Value
	for range c.Count {
		over.Add(1)
		go func() {
			defer over.Done()
			for !stop.Load() {
				if err := one(c); err != nil {
					failed.Add(1)
					why.Store(err.Error())
					time.Sleep(time.Millisecond)
				} else {
					done.Add(1)
				}
			}
		}()
	}
	time.Sleep(time.Duration(c.WarmMs) * time.Millisecond)
	result := timed(c, done.Load)
	stop.Store(true)
	over.Wait()
	result.Failed = failed.Load()
	if text, ok := why.Load().(string); ok {
		result.Why = text
	}
	return result
}

func one(c command) error {
	conn, err := dial(c, 'e')
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(dialTimeout))
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

func openIdle(c command) answer {
	back := []byte{0}
	for range c.Count {
		conn, err := dial(c, 'i')
		if err == nil {
			conn.SetDeadline(time.Now().Add(dialTimeout))
			_, err = io.ReadFull(conn, back)
		}
		if err != nil {
			return answer{Failed: 1, Why: err.Error()}
		}
		conn.SetDeadline(time.Time{})
		idle = append(idle, conn)
	}
	return answer{Count: int64(len(idle))}
}

// User and system time of all threads of a process, in seconds; 0 where there is no /proc.
func cpuSeconds(pid int) float64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond
}

// What Linux counts in, on every platform that Go and Node run on.
const ticksPerSecond = 100
