// Brokers on loopback, measured by one client: `hopwise serve`, franz-go's kfake, librdkafka's mock cluster.
//
//	serve-bench [-rounds N] [-replicas N] HOPWISE -- MOCK...
//	serve-bench kfake
//
// Each is a process of its own that tells where it listens, in turn and anew for every round; the client is
// franz-go in this process, the same for all. Of the rounds the best figure counts, because the machine has other
// work. Prints the figures and their ratios to hopwise.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "kfake" {
		serveKfake()
	}
	rounds := flag.Int("rounds", 3, "how often each is measured")
	replicas := flag.Int("replicas", 3, "replicas of a topic; only hopwise makes a difference")
	only := flag.String("only", "", "measure only this one")
	flag.Parse()
	servers := servers(flag.Args())
	best := map[string]figures{}
	for range *rounds {
		for _, server := range servers {
			if *only != "" && server.name != *only {
				continue
			}
			measured, err := measure(server, *replicas)
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", server.name, err)
				os.Exit(1)
			}
			best[server.name] = best[server.name].better(measured)
		}
	}
	print(servers, best)
}

func measure(server server, replicas int) (figures, error) {
	running, err := server.start()
	if err != nil {
		return nil, err
	}
	defer running.stop()
	return load(running.bootstrap, replicas)
}

// print writes a line for each figure: every server's, and each other's ratio to hopwise such that more than one
// means that hopwise is ahead.
func print(servers []server, best map[string]figures) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer out.Flush()
	head := []string{"figure"}
	for _, server := range servers {
		head = append(head, server.name)
	}
	for _, other := range servers[1:] {
		head = append(head, "ahead of "+other.name)
	}
	fmt.Fprintln(out, strings.Join(head, "\t"))
	for _, kind := range kinds {
		line := []string{kind.name}
		for _, server := range servers {
			line = append(line, fmt.Sprintf("%.0f", best[server.name][kind.name]))
		}
		for _, other := range servers[1:] {
			line = append(line, fmt.Sprintf("%.2f", kind.ahead(best[servers[0].name][kind.name], best[other.name][kind.name])))
		}
		fmt.Fprintln(out, strings.Join(line, "\t"))
	}
}
