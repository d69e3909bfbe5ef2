// Command ratios divides the figures of one client by those of each other.
//
//	go run ./lab -scenario web,nsdeath -seed 1,2,3 -json out.json
//	go run ./lab/ratios -client hostwise out.json
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/hostwise-go/hostwise/bench/lab/report"
)

func main() {
	client := flag.String("client", "hostwise", "the one to divide")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: ratios [-client NAME] FILE.json...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := ratios(*client, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

func ratios(client string, files []string) error {
	var all []*report.Report
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var reports []*report.Report
		if err := json.Unmarshal(b, &reports); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		all = append(all, reports...)
	}
	table := report.Ratios(client, all)
	if table == "" {
		return fmt.Errorf("no report of %s in %d files", client, len(files))
	}
	fmt.Print(table)
	return nil
}
