package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// server is a program that serves brokers, and how its output tells where.
type server struct {
	name    string
	command []string
	read    func(io.Reader) ([]string, error)
}

// running is a server that listens.
type running struct {
	process   *exec.Cmd
	bootstrap []string
}

// servers are hopwise, kfake and the mock cluster; arguments are hopwise's program, "--" if need be, and the
// command of the mock cluster.
func servers(arguments []string) []server {
	if len(arguments) < 2 {
		fmt.Fprintln(os.Stderr, "usage: serve-bench [-rounds N] [-replicas N] HOPWISE MOCK...")
		os.Exit(2)
	}
	own, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return []server{
		{"hopwise", []string{arguments[0], "serve", "--format", "json"}, readReport},
		{"kfake", []string{own, "kfake"}, readLine},
		{"mock", arguments[1:], readLine},
	}
}

func (s server) start() (*running, error) {
	process := exec.Command(s.command[0], s.command[1:]...)
	process.Stderr = os.Stderr
	out, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	bootstrap, err := s.read(out)
	if err != nil {
		process.Process.Kill()
		return nil, err
	}
	return &running{process, bootstrap}, nil
}

// stop ends the server and waits for its end.
func (r *running) stop() {
	r.process.Process.Signal(syscall.SIGTERM)
	r.process.Wait()
}

// readReport reads the one JSON object that `hopwise serve` prints.
func readReport(out io.Reader) ([]string, error) {
	var report struct{ Bootstrap map[string]string }
	if err := json.NewDecoder(out).Decode(&report); err != nil {
		return nil, err
	}
	addresses, found := report.Bootstrap["external"]
	if !found {
		return nil, fmt.Errorf("no listener named external among %v", report.Bootstrap)
	}
	return strings.Split(addresses, ","), nil
}

// readLine reads addresses with commas between them.
func readLine(out io.Reader) ([]string, error) {
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.Split(strings.TrimSpace(line), ","), err
}

// serveKfake serves three brokers until SIGTERM.
func serveKfake() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.Join(cluster.ListenAddrs(), ","))
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
	os.Exit(0)
}
