module hopwise/clients/harness

go 1.26
