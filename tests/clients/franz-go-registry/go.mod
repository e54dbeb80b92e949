module hopwise/clients/franz-go-registry

go 1.26

require (
	github.com/twmb/franz-go/pkg/sr v1.8.0
	hopwise/clients/harness v0.0.0
)

replace hopwise/clients/harness => ../go-harness
