package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	// The mock cluster creates topics by itself, with so many partitions.
	partitions = 4
	// Bytes of values that are produced for one figure.
	volume = 256 << 20
	// Records are read again and again for so long.
	consumeFor = 3 * time.Second
	// Produce requests of one record, and those before them that do not count.
	singles, warmUp = 3000, 300
	patience        = time.Minute
)

// load measures a cluster. The client has franz-go's defaults (acks=all, idempotent), without compression.
func load(bootstrap []string, replicas int) (figures, error) {
	measured := figures{}
	for _, of := range []struct {
		size             int
		produce, consume string
	}{{100, produce100, consume100}, {1024, produce1024, consume1024}} {
		topic := fmt.Sprintf("bytes-%d", of.size)
		if err := create(bootstrap, topic, replicas); err != nil {
			return nil, err
		}
		rate, err := produce(bootstrap, topic, of.size)
		if err != nil {
			return nil, err
		}
		measured[of.produce] = rate
		if measured[of.consume], err = consume(bootstrap, topic); err != nil {
			return nil, err
		}
	}
	if err := create(bootstrap, "single", replicas); err != nil {
		return nil, err
	}
	var err error
	measured[singleP50], measured[singleP99], err = latency(bootstrap, "single")
	return measured, err
}

func client(bootstrap []string, options ...kgo.Opt) (*kgo.Client, error) {
	base := []kgo.Opt{
		kgo.SeedBrokers(bootstrap...), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.AllowAutoTopicCreation(), kgo.RecordDeliveryTimeout(patience), kgo.MaxVersions(versions()),
	}
	return kgo.NewClient(append(base, options...)...)
}

// versions are Kafka 3.7's, but for ApiVersions: the mock cluster answers the newer one with what nobody can read.
func versions() *kversion.Versions {
	versions := kversion.V3_7_0()
	versions.SetMaxKeyVersion(kmsg.ApiVersions.Int16(), 2)
	return versions
}

// create creates a topic, or lets a cluster create it that does so by itself alone, and waits until a record goes
// to every partition.
func create(bootstrap []string, topic string, replicas int) error {
	c, err := client(bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// The mock cluster does not know the request; whether the topic is there is seen below.
	_, _ = kadm.NewClient(c).CreateTopic(ctx, partitions, int16(replicas), nil, topic)
	for partition := range int32(partitions) {
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: partition}).FirstErr(); err != nil {
			return fmt.Errorf("%s, partition %d: %w", topic, partition, err)
		}
	}
	return nil
}

// produce gives records per second until all are acknowledged.
func produce(bootstrap []string, topic string, size int) (float64, error) {
	c, err := client(bootstrap, kgo.DefaultProduceTopic(topic))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	value := bytes.Repeat([]byte("x"), size)
	var failed atomic.Pointer[error]
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	ctx := context.Background()
	count := volume / size
	begun := time.Now()
	for range count {
		c.Produce(ctx, &kgo.Record{Value: value}, done)
	}
	if err := c.Flush(ctx); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(count) / took.Seconds(), nil
}

// consume gives records per second. The mock cluster keeps 5 MiB of a partition, so everything that there is is
// read until the time is up.
func consume(bootstrap []string, topic string) (float64, error) {
	read, spent := 0, time.Duration(0)
	for spent < consumeFor {
		count, took, err := readOnce(bootstrap, topic)
		if err != nil {
			return 0, err
		}
		read, spent = read+count, spent+took
	}
	return float64(read) / spent.Seconds(), nil
}

// readOnce reads a topic from its start to its end.
func readOnce(bootstrap []string, topic string) (int, time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	begun, read, reached := time.Now(), 0, map[int32]bool{}
	for len(reached) < partitions {
		fetches := c.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return 0, 0, errs[0].Err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) == 0 {
				return
			}
			read += len(p.Records)
			end, _ := ends.Lookup(topic, p.Partition)
			if p.Records[len(p.Records)-1].Offset+1 >= end.Offset {
				reached[p.Partition] = true
			}
		})
	}
	return read, time.Since(begun), nil
}

// latency gives the median and the 99th percentile of a produce request with one record, one at a time, in
// microseconds.
func latency(bootstrap []string, topic string) (float64, float64, error) {
	c, err := client(bootstrap, kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	ctx := context.Background()
	value := bytes.Repeat([]byte("x"), 100)
	var took []float64
	for i := range warmUp + singles {
		begun := time.Now()
		if err := c.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil {
			return 0, 0, err
		}
		if i >= warmUp {
			took = append(took, float64(time.Since(begun).Nanoseconds())/1000)
		}
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100], nil
}
