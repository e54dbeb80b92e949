// A stand-in for `hopwise serve`: franz-go's fake cluster, to prove the client programs against a peer.
//
// Usage: stand-in plain|sasl|restart...; it prints what `hopwise serve --format json` prints.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

type listener struct {
	API     string `json:"api"`
	Name    string `json:"name"`
	Address string `json:"address"`
}

type broker struct {
	ID        int        `json:"id"`
	Listeners []listener `json:"listeners"`
}

func main() {
	mode := "plain"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	options := []kfake.Opt{kfake.NumBrokers(3), kfake.Ports(0, 0, 0)}
	if mode == "sasl" {
		options = append(options, kfake.EnableSASL(), kfake.Superuser("PLAIN", "alice", "a-secret"),
			kfake.Superuser("SCRAM-SHA-256", "alice", "a-secret"), kfake.Superuser("SCRAM-SHA-512", "bob", "a-secret"))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	var brokers []broker
	for id, address := range cluster.ListenAddrs() {
		brokers = append(brokers, broker{id, []listener{{"kafka", "external", address}}})
	}
	out, _ := json.Marshal(map[string]any{
		"brokers": brokers, "bootstrap": map[string]string{"external": strings.Join(cluster.ListenAddrs(), ",")}, "ca": nil,
	})
	fmt.Println(string(out))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
	cluster.Close()
}
