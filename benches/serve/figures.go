package main

// figures are what one round measured, by name.
type figures map[string]float64

// kind is a figure: its name, and whether less of it is better.
type kind struct {
	name string
	less bool
}

const (
	produce100  = "produce 100 B, records/s"
	produce1024 = "produce 1 KiB, records/s"
	consume100  = "consume 100 B, records/s"
	consume1024 = "consume 1 KiB, records/s"
	singleP50   = "single produce acks=all p50, us"
	singleP99   = "single produce acks=all p99, us"
)

var kinds = []kind{
	{produce100, false}, {produce1024, false}, {consume100, false}, {consume1024, false},
	{singleP50, true}, {singleP99, true},
}

// ahead is how many times better own is than other.
func (k kind) ahead(own, other float64) float64 {
	if k.less {
		return other / own
	}
	return own / other
}

// better is the better of two rounds, figure by figure.
func (f figures) better(other figures) figures {
	if f == nil {
		return other
	}
	best := figures{}
	for _, k := range kinds {
		best[k.name] = f[k.name]
		if k.ahead(other[k.name], f[k.name]) > 1 {
			best[k.name] = other[k.name]
		}
	}
	return best
}
