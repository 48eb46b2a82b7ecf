// Command controlplane is a real Kubernetes control plane in one process, for
// tests: etcd, kube-apiserver, and the few controllers without which objects
// do not behave as they do in a cluster (namespaces that go away when deleted,
// garbage collection, aggregated cluster roles, default service accounts and
// their root CA).
//
//	controlplane --dir DIR [--port N] [--controllers a,b] [-- kube-apiserver flags]
//
// Everything it writes is under DIR, everything it listens on is loopback.
// When ready it prints one line of JSON on standard output, and nothing else
// is ever printed there; the servers log to standard error.
//
// It lives as long as its standard input is open. Hold a pipe to it, and it
// cannot outlive you, however you end. It also ends on SIGINT and SIGTERM. It
// ends at once: its data is thrown away, so there is nothing to drain.
//
// There is no kubelet and no network plugin. Pods are objects that nothing
// runs, and NetworkPolicies are objects that nothing enforces.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// startTimeout bounds the time to readiness, which is a few seconds on an idle
// machine.
const startTimeout = 2 * time.Minute

// ready is the line printed when the control plane can be used.
type ready struct {
	Kubeconfig   string  `json:"kubeconfig"`
	Server       string  `json:"server"`
	ReadySeconds float64 `json:"ready_seconds"`
	PID          int     `json:"pid"`
}

func main() {
	dir := flag.String("dir", "", "folder for all data; made if missing (required)")
	port := flag.Int("port", 0, "port of the API server on 127.0.0.1; 0 takes a free one")
	names := flag.String("controllers", strings.Join(controllerNames(), ","), "controllers to run, separated by commas; empty runs none")
	flag.Parse()

	if *dir == "" {
		fmt.Fprintln(os.Stderr, "controlplane: --dir is required")
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*dir, *port, splitNames(*names), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

// run starts everything, announces it, and returns when asked to stop or when
// a server fails.
func run(dir string, port int, controllers, apiserverFlags []string) error {
	begun := time.Now()
	stop := stopRequested()

	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	data := layout{dir}
	if err := os.MkdirAll(data.pki(), 0o700); err != nil {
		return err
	}
	defer data.remove()

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	failed := make(chan error, 2)

	// Starting takes seconds and must not delay a request to stop.
	started := make(chan ready, 1)
	go func() {
		server, err := start(ctx, data, port, controllers, apiserverFlags, failed)
		if err != nil {
			failed <- err
			return
		}
		started <- ready{
			Kubeconfig:   data.kubeconfig(),
			Server:       server,
			ReadySeconds: float64(time.Since(begun).Milliseconds()) / 1000,
			PID:          os.Getpid(),
		}
	}()

	for {
		select {
		case line := <-started:
			if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
				return err
			}
		case err := <-failed:
			return err
		case <-stop:
			return nil
		}
	}
}

// start brings the parts up in the order in which they need each other, and
// returns the address of the API server.
func start(ctx context.Context, data layout, port int, controllers, apiserverFlags []string, failed chan<- error) (string, error) {
	keys, err := newKeys(data)
	if err != nil {
		return "", fmt.Errorf("keys: %w", err)
	}
	etcd, err := startEtcd(ctx, data)
	if err != nil {
		return "", fmt.Errorf("etcd: %w", err)
	}
	server, err := startAPIServer(data, etcd, port, apiserverFlags, failed)
	if err != nil {
		return "", fmt.Errorf("kube-apiserver: %w", err)
	}
	config := keys.clientConfig(server)
	if err := waitReady(ctx, config); err != nil {
		return "", fmt.Errorf("kube-apiserver: %w", err)
	}
	if err := startControllers(ctx, config, controllers); err != nil {
		return "", fmt.Errorf("controllers: %w", err)
	}
	return server, writeKubeconfig(data.kubeconfig(), config)
}

// stopRequested receives at the end of standard input, or on a signal.
func stopRequested() <-chan struct{} {
	stop := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop <- struct{}{}
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop <- struct{}{}
	}()
	return stop
}

// layout says where things are in the data folder.
type layout struct{ dir string }

func (l layout) pki() string        { return filepath.Join(l.dir, "pki") }
func (l layout) etcd() string       { return filepath.Join(l.dir, "etcd") }
func (l layout) kubeconfig() string { return filepath.Join(l.dir, "kubeconfig") }

// remove takes away what this program wrote, and the folder if that leaves it
// empty: whoever gave it may keep other things in it.
func (l layout) remove() {
	for _, path := range []string{l.kubeconfig(), l.pki(), l.etcd()} {
		_ = os.RemoveAll(path)
	}
	_ = os.Remove(l.dir)
}

func splitNames(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
