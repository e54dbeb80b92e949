// Package harness is what every client program in Go shares: it runs checks and prints a line for each.
//
// A program is started with a mode and, if not all checks of it are wanted, their names; it prints
// CHECK<TAB>pass|fail|n/a<TAB>DETAIL for each. driver/harness.py tells what the environment holds.
package harness

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Check is one check: a function that returns what went wrong, or why it does not apply.
type Check struct {
	Name string
	Run  func() error
	// NotApplicable tells why the client has no such feature; Run is not called.
	NotApplicable string
}

const (
	Partitions = 6
	Records    = 1000
	Patience   = 30 * time.Second
)

// BaseMs is the timestamp of the first record: about now, so that no retention takes records away.
var BaseMs = time.Now().UnixMilli() - 100_000

// Record is what was sent, or what was read back.
type Record struct {
	Key, Value []byte
	Headers    map[string]string
	Ms         int64
}

// Wanted is the record number i.
func Wanted(i int) Record {
	value := []byte(fmt.Sprintf("value-%d-", i))
	for j := range i % 300 {
		value = append(value, byte(j))
	}
	return Record{
		Key: []byte(fmt.Sprintf("key-%d", i)), Value: value,
		Headers: map[string]string{"number": fmt.Sprint(i), "bytes": string([]byte{0, 0xff, byte(i)})},
		Ms:      BaseMs + int64(i),
	}
}

// Bootstrap is where clients start from.
func Bootstrap() []string { return strings.Split(os.Getenv("HOPWISE_BOOTSTRAP"), ",") }

// Brokers is every broker's address, by its id.
func Brokers() map[int32]string {
	brokers := map[int32]string{}
	for _, entry := range strings.Split(os.Getenv("HOPWISE_BROKERS"), ",") {
		var id int32
		identity, address, ok := strings.Cut(entry, "=")
		if _, err := fmt.Sscan(identity, &id); ok && err == nil {
			brokers[id] = address
		}
	}
	return brokers
}

// Replicas is how many replicas topics get.
func Replicas() int { return min(3, len(Brokers())) }

// Equal fails unless both are the same.
func Equal(got, wanted any, what string) error {
	if reflect.DeepEqual(got, wanted) {
		return nil
	}
	return fmt.Errorf("%s: got %s, expected %s", what, shorten(got), shorten(wanted))
}

func shorten(value any) string {
	text := fmt.Sprintf("%+v", value)
	if bytes, ok := value.([]byte); ok {
		text = fmt.Sprintf("%q", bytes)
	}
	if len(text) > 200 {
		return text[:200] + "..."
	}
	return text
}

// Until calls look until it returns nil; fails with what it said last.
func Until(what string, look func() error) error {
	var last error
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if last = look(); last == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: not within %v: %w", what, Patience, last)
}

// First is the first error.
func First(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

// Main runs the checks of the mode that the command line names.
func Main(modes map[string][]Check) {
	mode, only := "plain", []string(nil)
	if len(os.Args) > 1 {
		mode, only = os.Args[1], os.Args[2:]
	}
	for _, check := range modes[mode] {
		if len(only) > 0 && !slices.Contains(only, check.Name) {
			continue
		}
		if check.NotApplicable != "" {
			say(check.Name, "n/a", check.NotApplicable)
			continue
		}
		if err := run(check); err != nil {
			say(check.Name, "fail", err.Error())
		} else {
			say(check.Name, "pass", "")
		}
	}
}

// run gives a check two minutes; a check that hangs is left behind.
func run(check Check) error {
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				ended <- fmt.Errorf("panic: %v", panicked)
			}
		}()
		ended <- check.Run()
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("it hangs: not ended after two minutes")
	}
}

func say(check, outcome, detail string) {
	detail = strings.Join(strings.Fields(detail), " ")
	if len(detail) > 500 {
		detail = detail[:500]
	}
	fmt.Printf("%s\t%s\t%s\n", check, outcome, detail)
}

// User is the user that may log in by a mechanism.
func User(mechanism string) string {
	if mechanism == "SCRAM-SHA-512" {
		return os.Getenv("HOPWISE_USER_512")
	}
	return os.Getenv("HOPWISE_USER")
}
