// franz-go: the checks.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	h "hopwise/clients/harness"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// security holds the options of the mode.
var security []kgo.Opt

func client(options ...kgo.Opt) *kgo.Client {
	base := []kgo.Opt{kgo.SeedBrokers(h.Bootstrap()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	made, err := kgo.NewClient(append(append(base, security...), options...)...)
	if err != nil {
		panic(err)
	}
	return made
}

func within(d time.Duration) context.Context {
	// Ends with its time.
	ctx, cancel := context.WithTimeout(context.Background(), d)
	_ = cancel
	return ctx
}

func soon() context.Context { return within(h.Patience) }

func withAdmin(f func(*kadm.Client) error) error {
	c := client()
	defer c.Close()
	return f(kadm.NewClient(c))
}

func create(topic string, partitions int, configs map[string]*string) error {
	return withAdmin(func(a *kadm.Client) error {
		made, err := a.CreateTopic(soon(), int32(partitions), int16(h.Replicas()), configs, topic)
		if err = h.First(err, made.Err); err != nil {
			return fmt.Errorf("creating %s: %w", topic, err)
		}
		return h.Until(topic+" is known", func() error {
			found, err := a.ListTopics(soon(), topic)
			if err != nil {
				return err
			}
			detail := found[topic]
			if detail.Err != nil || len(detail.Partitions) != partitions {
				return fmt.Errorf("%v, %d partitions", detail.Err, len(detail.Partitions))
			}
			for _, p := range detail.Partitions {
				if p.Err != nil || p.Leader < 0 {
					return fmt.Errorf("partition %d: leader %d, %v", p.Partition, p.Leader, p.Err)
				}
			}
			return nil
		})
	})
}

func simple(topic string, partition int32, count int) []*kgo.Record {
	var records []*kgo.Record
	for i := range count {
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Key: fmt.Appendf(nil, "k%d", i),
			Value: fmt.Appendf(nil, "v%d", i), Timestamp: time.UnixMilli(h.BaseMs + int64(i))})
	}
	return records
}

func produce(records []*kgo.Record, options ...kgo.Opt) error {
	c := client(options...)
	defer c.Close()
	return c.ProduceSync(soon(), records...).FirstErr()
}

// values reads the first count records of one partition.
func values(topic string, count int, options ...kgo.Opt) ([]string, error) {
	records, err := consume(topic, []int32{0}, count, options...)
	var got []string
	for _, r := range records {
		got = append(got, string(r.Value))
	}
	return got, err
}

func consume(topic string, partitions []int32, count int, options ...kgo.Opt) ([]*kgo.Record, error) {
	return consumeFrom(topic, partitions, kgo.NewOffset().AtStart(), count, options...)
}

func consumeFrom(topic string, partitions []int32, from kgo.Offset, count int, options ...kgo.Opt) ([]*kgo.Record, error) {
	offsets := map[int32]kgo.Offset{}
	for _, p := range partitions {
		offsets[p] = from
	}
	c := client(append(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}))...)
	defer c.Close()
	return poll(c, count)
}

func poll(c *kgo.Client, count int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	ctx := soon()
	for len(records) < count {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return records, fmt.Errorf("%d of %d records: %w", len(records), count, err)
		}
		for _, e := range fetches.Errors() {
			return records, fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

func numbered(prefix string, from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%s%d", prefix, i))
	}
	return all
}

func all() []int32 { return []int32{0, 1, 2, 3, 4, 5} }

func metadata() error {
	return withAdmin(func(a *kadm.Client) error {
		found, err := a.BrokerMetadata(soon())
		if err != nil {
			return err
		}
		got := map[int32]string{}
		for _, b := range found.Brokers {
			got[b.NodeID] = net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
		}
		if _, ok := got[found.Controller]; !ok {
			return fmt.Errorf("controller %d is no broker", found.Controller)
		}
		return h.Equal(got, h.Brokers(), "brokers")
	})
}

func createTopic() error {
	if err := create("fg-create", h.Partitions, nil); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		found, err := a.ListTopics(soon(), "fg-create")
		if err != nil {
			return err
		}
		for _, p := range found["fg-create"].Partitions {
			replicas := slices.Clone(p.Replicas)
			slices.Sort(replicas)
			if len(slices.Compact(replicas)) != h.Replicas() || !slices.Contains(p.Replicas, p.Leader) {
				return fmt.Errorf("partition %d has replicas %v and leader %d", p.Partition, p.Replicas, p.Leader)
			}
		}
		again, err := a.CreateTopic(soon(), 1, 1, nil, "fg-create")
		if !errors.Is(h.First(err, again.Err), kerr.TopicAlreadyExists) {
			return fmt.Errorf("creating it again: %v", h.First(err, again.Err))
		}
		return nil
	})
}

func produceFetch() error {
	topic := "fg-records"
	if err := create(topic, h.Partitions, nil); err != nil {
		return err
	}
	var records []*kgo.Record
	for i := range h.Records {
		w := h.Wanted(i)
		r := &kgo.Record{Topic: topic, Partition: int32(i % h.Partitions), Key: w.Key, Value: w.Value, Timestamp: time.UnixMilli(w.Ms)}
		for _, key := range []string{"number", "bytes"} {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(w.Headers[key])})
		}
		records = append(records, r)
	}
	if err := produce(records, kgo.RequiredAcks(kgo.AllISRAcks())); err != nil {
		return err
	}
	got, err := consume(topic, all(), h.Records)
	if err != nil {
		return err
	}
	next := [h.Partitions]int{}
	for _, r := range got {
		p := int(r.Partition)
		headers := map[string]string{}
		for _, header := range r.Headers {
			headers[header.Key] = string(header.Value)
		}
		read := h.Record{Key: r.Key, Value: r.Value, Headers: headers, Ms: r.Timestamp.UnixMilli()}
		if err := h.Equal(read, h.Wanted(next[p]*h.Partitions+p), fmt.Sprintf("record %d of partition %d", next[p], p)); err != nil {
			return err
		}
		next[p]++
	}
	return nil
}

func codec(name string, codec kgo.CompressionCodec) h.Check {
	return h.Check{Name: "codec-" + name, Run: func() error {
		topic := "fg-codec-" + name
		if err := create(topic, 1, nil); err != nil {
			return err
		}
		var records []*kgo.Record
		var wanted []string
		for i := range 100 {
			wanted = append(wanted, fmt.Sprintf("%d-%s", i, strings.Repeat("compressible ", 50)))
			records = append(records, &kgo.Record{Topic: topic, Value: []byte(wanted[i])})
		}
		if err := produce(records, kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(50*time.Millisecond)); err != nil {
			return err
		}
		got, err := values(topic, 100)
		return h.First(err, h.Equal(got, wanted, "values"))
	}}
}

func idempotentProducer() error {
	if err := create("fg-idempotent", 1, nil); err != nil {
		return err
	}
	// franz-go is idempotent unless told otherwise.
	records := simple("fg-idempotent", 0, 500)
	if err := produce(records); err != nil {
		return err
	}
	for i, r := range records {
		if r.Offset != int64(i) {
			return fmt.Errorf("record %d has offset %d", i, r.Offset)
		}
	}
	got, err := values("fg-idempotent", 500)
	return h.First(err, h.Equal(got, numbered("v", 0, 500), "values"))
}

func inTransaction(c *kgo.Client, topic string, commit kgo.TransactionEndTry, sent ...string) error {
	if err := c.BeginTransaction(); err != nil {
		return err
	}
	for _, v := range sent {
		if err := c.ProduceSync(soon(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			return err
		}
	}
	return c.EndTransaction(soon(), commit)
}

var committed = kgo.FetchIsolationLevel(kgo.ReadCommitted())

func transactionCommit() error {
	if err := create("fg-commit", 1, nil); err != nil {
		return err
	}
	c := client(kgo.TransactionalID("fg-commit"))
	defer c.Close()
	for start := 0; start < 20; start += 10 {
		if err := inTransaction(c, "fg-commit", kgo.TryCommit, numbered("c", start, start+10)...); err != nil {
			return err
		}
	}
	got, err := values("fg-commit", 20, committed)
	return h.First(err, h.Equal(got, numbered("c", 0, 20), "committed values"))
}

func transactionAbort() error {
	if err := create("fg-abort", 1, nil); err != nil {
		return err
	}
	c := client(kgo.TransactionalID("fg-abort"))
	defer c.Close()
	// It sees the broker's features before its first transaction, and so has an epoch per transaction from the beginning
	// (KIP-890); the other checks begin without that and change over after their first one.
	if err := h.First(c.Ping(soon()), c.BeginTransaction()); err != nil {
		return err
	}
	for range 5 {
		if err := c.ProduceSync(soon(), &kgo.Record{Topic: "fg-abort", Value: []byte("aborted")}).FirstErr(); err != nil {
			return err
		}
	}
	reader := client(committed, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"fg-abort": {0: kgo.NewOffset().AtStart()}}))
	defer reader.Close()
	if open := reader.PollFetches(within(1500 * time.Millisecond)); open.NumRecords() > 0 {
		return fmt.Errorf("read_committed sees %d records of an open transaction", open.NumRecords())
	}
	if err := c.EndTransaction(soon(), kgo.TryAbort); err != nil {
		return err
	}
	if err := inTransaction(c, "fg-abort", kgo.TryCommit, "kept"); err != nil {
		return err
	}
	read, err := poll(reader, 1)
	if err != nil {
		return err
	}
	if err := h.Equal([]string{string(read[0].Value)}, []string{"kept"}, "read_committed"); err != nil {
		return err
	}
	got, err := values("fg-abort", 6)
	return h.First(err, h.Equal(got, []string{"aborted", "aborted", "aborted", "aborted", "aborted", "kept"}, "read_uncommitted"))
}

func transactionOffsets() error {
	if err := h.First(create("fg-source", 1, nil), create("fg-sink", 1, nil), produce(simple("fg-source", 0, 10))); err != nil {
		return err
	}
	options := []kgo.Opt{kgo.SeedBrokers(h.Bootstrap()...), kgo.TransactionalID("fg-offsets"), kgo.ConsumerGroup("fg-txn"),
		kgo.ConsumeTopics("fg-source"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), committed,
		kgo.RequireStableFetchOffsets(), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	round := func(commit kgo.TransactionEndTry, value string) error {
		session, err := kgo.NewGroupTransactSession(append(options, security...)...)
		if err != nil {
			return err
		}
		defer session.Close()
		read, err := poll(session.Client(), 10)
		if err != nil {
			return err
		}
		if err := h.Equal(len(read), 10, "records to consume"); err != nil {
			return err
		}
		if err := session.Begin(); err != nil {
			return err
		}
		if err := session.ProduceSync(soon(), &kgo.Record{Topic: "fg-sink", Value: []byte(value)}).FirstErr(); err != nil {
			return err
		}
		did, err := session.End(soon(), commit)
		return h.First(err, h.Equal(did, commit == kgo.TryCommit, "committed"))
	}
	offset := func() (at int64) {
		at = -2
		_ = withAdmin(func(a *kadm.Client) error {
			found, err := a.FetchOffsets(soon(), "fg-txn")
			if err != nil {
				return err
			}
			at = -1
			if o, ok := found.Lookup("fg-source", 0); ok {
				at = o.At
			}
			return nil
		})
		return at
	}
	if err := round(kgo.TryAbort, "abort"); err != nil {
		return err
	}
	if err := h.Equal(offset(), int64(-1), "offset after the abort"); err != nil {
		return err
	}
	if err := round(kgo.TryCommit, "commit"); err != nil {
		return err
	}
	if err := h.Until("the offset", func() error { return h.Equal(offset(), int64(10), "offset after the commit") }); err != nil {
		return err
	}
	got, err := values("fg-sink", 1, committed)
	return h.First(err, h.Equal(got, []string{"commit"}, "the sink"))
}

func listOffsets() error {
	if err := h.First(create("fg-offsets", 1, nil), produce(simple("fg-offsets", 0, 100))); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		look := func(found kadm.ListedOffsets, err error) int64 {
			if o, ok := found.Lookup("fg-offsets", 0); err == nil && ok && o.Err == nil {
				return o.Offset
			}
			return -99
		}
		return h.First(
			h.Equal(look(a.ListStartOffsets(soon(), "fg-offsets")), int64(0), "earliest"),
			h.Equal(look(a.ListEndOffsets(soon(), "fg-offsets")), int64(100), "latest"),
			h.Equal(look(a.ListOffsetsAfterMilli(soon(), h.BaseMs+42, "fg-offsets")), int64(42), "by time"),
			h.Equal(look(a.ListOffsetsAfterMilli(soon(), h.BaseMs+1e9, "fg-offsets")), int64(100), "after the last"),
		)
	})
}

func outOfRangeReset() error {
	if err := h.First(create("fg-range", 1, nil), produce(simple("fg-range", 0, 10))); err != nil {
		return err
	}
	got, err := consumeFrom("fg-range", []int32{0}, kgo.NewOffset().At(1000), 10, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	if err := h.Equal(got[0].Offset, int64(0), "the first offset after the reset"); err != nil {
		return err
	}
	_, err = consumeFrom("fg-range", []int32{0}, kgo.NewOffset().At(1000), 1, kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if !errors.Is(err, kerr.OffsetOutOfRange) {
		return fmt.Errorf("without a reset: %v", err)
	}
	return nil
}

func fetchSession() error {
	if err := h.First(create("fg-session", h.Partitions, nil)); err != nil {
		return err
	}
	c := client()
	defer c.Close()
	leader := int32(-1)
	var topicID [16]byte
	err := withAdmin(func(a *kadm.Client) error {
		found, err := a.ListTopics(soon(), "fg-session")
		leader, topicID = found["fg-session"].Partitions[0].Leader, found["fg-session"].ID
		return err
	})
	if err != nil {
		return err
	}
	if err := produce(simple("fg-session", 0, 1)); err != nil {
		return err
	}
	fetch := func(id, epoch int32, offset int64, named bool) (*kmsg.FetchResponse, error) {
		request := kmsg.NewPtrFetchRequest()
		request.ReplicaID, request.MaxWaitMillis, request.MinBytes, request.MaxBytes = -1, 500, 1, 1<<20
		request.SessionID, request.SessionEpoch = id, epoch
		if named {
			p := kmsg.NewFetchRequestTopicPartition()
			p.FetchOffset, p.PartitionMaxBytes = offset, 1<<20
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = "fg-session", topicID
			t.Partitions = append(t.Partitions, p)
			request.Topics = append(request.Topics, t)
		}
		response, err := c.Broker(int(leader)).RetriableRequest(soon(), request)
		if err != nil {
			return nil, err
		}
		return response.(*kmsg.FetchResponse), nil
	}
	first, err := fetch(0, 0, 0, true)
	if err != nil {
		return err
	}
	if first.ErrorCode != 0 || first.SessionID == 0 || len(first.Topics) != 1 {
		return fmt.Errorf("the first fetch: error %d, session %d, %d topics", first.ErrorCode, first.SessionID, len(first.Topics))
	}
	// The session knows the partition; its place moves on by naming it once, then nothing needs to be named.
	if _, err := fetch(first.SessionID, 1, 1, true); err != nil {
		return err
	}
	if err := produce([]*kgo.Record{{Topic: "fg-session", Value: []byte("new")}}); err != nil {
		return err
	}
	third, err := fetch(first.SessionID, 2, 0, false)
	if err != nil {
		return err
	}
	if third.ErrorCode != 0 || len(third.Topics) != 1 || len(third.Topics[0].Partitions[0].RecordBatches) == 0 {
		return fmt.Errorf("an incremental fetch: error %d, %d topics", third.ErrorCode, len(third.Topics))
	}
	wrong, err := fetch(first.SessionID, 9, 0, false)
	if err != nil {
		return err
	}
	return h.First(
		h.Equal(wrong.ErrorCode, kerr.InvalidFetchSessionEpoch.Code, "a wrong epoch"),
	)
}

// member is a group member that polls on a goroutine.
type member struct {
	client  *kgo.Client
	mutex   sync.Mutex
	has     map[int32]bool
	lost    int
	seen    map[string]bool
	done    chan struct{}
	stopped bool
}

func join(group, topic string, options ...kgo.Opt) *member {
	m := &member{has: map[int32]bool{}, seen: map[string]bool{}, done: make(chan struct{})}
	change := func(count int, give bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.mutex.Lock()
			defer m.mutex.Unlock()
			for _, p := range parts[topic] {
				if give {
					m.has[p] = true
				} else {
					delete(m.has, p)
					m.lost += count
				}
			}
		}
	}
	m.client = client(append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.SessionTimeout(6 * time.Second), kgo.DisableAutoCommit(), kgo.OnPartitionsAssigned(change(0, true)),
		kgo.OnPartitionsRevoked(change(1, false)), kgo.OnPartitionsLost(change(1, false))}, options...)...)
	go func() {
		defer close(m.done)
		for {
			fetches := m.client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			m.mutex.Lock()
			for _, r := range fetches.Records() {
				m.seen[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = true
			}
			m.mutex.Unlock()
		}
	}()
	return m
}

func (m *member) partitions() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var have []int32
	for p := range m.has {
		have = append(have, p)
	}
	slices.Sort(have)
	return have
}

func (m *member) losses() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.lost
}

func (m *member) records() map[string]bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	seen := map[string]bool{}
	for r := range m.seen {
		seen[r] = true
	}
	return seen
}

func (m *member) leave() {
	if !m.stopped {
		m.stopped = true
		m.client.Close()
		<-m.done
	}
}

func share(members ...*member) error {
	return h.Until(fmt.Sprintf("%d members share", len(members)), func() error {
		var together []int32
		for _, m := range members {
			have := m.partitions()
			if len(have) == 0 {
				return errors.New("a member has none")
			}
			together = append(together, have...)
		}
		slices.Sort(together)
		return h.Equal(together, all(), "partitions")
	})
}

func groupRebalance() error {
	if err := create("fg-group", h.Partitions, nil); err != nil {
		return err
	}
	eager := kgo.Balancers(kgo.RangeBalancer())
	first := join("fg-group", "fg-group", eager)
	defer first.leave()
	if err := share(first); err != nil {
		return err
	}
	second := join("fg-group", "fg-group", eager)
	defer second.leave()
	if err := share(first, second); err != nil {
		return err
	}
	var records []*kgo.Record
	for _, p := range all() {
		records = append(records, simple("fg-group", p, 10)...)
	}
	if err := produce(records); err != nil {
		return err
	}
	err := h.Until("all records", func() error {
		seen := first.records()
		for r := range second.records() {
			seen[r] = true
		}
		return h.Equal(len(seen), 60, "records")
	})
	if err != nil {
		return err
	}
	first.leave()
	return share(second)
}

func groupStatic() error {
	if err := create("fg-static", h.Partitions, nil); err != nil {
		return err
	}
	a := join("fg-static", "fg-static", kgo.InstanceID("a"))
	defer a.leave()
	b := join("fg-static", "fg-static", kgo.InstanceID("b"))
	defer b.leave()
	if err := share(a, b); err != nil {
		return err
	}
	before, lost := a.partitions(), b.losses()
	// A static member does not leave the group when it ends.
	a.leave()
	again := join("fg-static", "fg-static", kgo.InstanceID("a"))
	defer again.leave()
	if err := h.Until("it is back", func() error { return h.Equal(again.partitions(), before, "partitions") }); err != nil {
		return err
	}
	if err := h.Equal(b.losses(), lost, "partitions that the other lost"); err != nil {
		return err
	}
	return withAdmin(func(c *kadm.Client) error {
		found, err := c.DescribeGroups(soon(), "fg-static")
		if err != nil {
			return err
		}
		var ids []string
		for _, m := range found["fg-static"].Members {
			if m.InstanceID != nil {
				ids = append(ids, *m.InstanceID)
			}
		}
		slices.Sort(ids)
		return h.Equal(ids, []string{"a", "b"}, "instance ids")
	})
}

func groupCooperative() error {
	if err := create("fg-cooperative", h.Partitions, nil); err != nil {
		return err
	}
	cooperative := kgo.Balancers(kgo.CooperativeStickyBalancer())
	first := join("fg-cooperative", "fg-cooperative", cooperative)
	defer first.leave()
	if err := share(first); err != nil {
		return err
	}
	second := join("fg-cooperative", "fg-cooperative", cooperative)
	defer second.leave()
	return h.First(share(first, second), h.Equal(first.losses(), len(second.partitions()), "partitions given up"))
}

func groupOffsets() error {
	if err := h.First(create("fg-committed", 1, nil), produce(simple("fg-committed", 0, 20))); err != nil {
		return err
	}
	options := []kgo.Opt{kgo.ConsumerGroup("fg-committed"), kgo.ConsumeTopics("fg-committed"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit()}
	first := client(options...)
	read, err := poll(first, 20)
	if err == nil {
		err = first.CommitRecords(soon(), read[11])
	}
	first.Close()
	if err != nil {
		return err
	}
	second := client(options...)
	defer second.Close()
	read, err = poll(second, 1)
	return h.First(err, h.Equal(read[0].Offset, int64(12), "where a new member goes on"))
}

func value(configs kadm.ResourceConfigs, err error, resource, key string) (string, error) {
	if err != nil {
		return "", err
	}
	config, err := configs.On(resource, nil)
	if err = h.First(err, config.Err); err != nil {
		return "", err
	}
	for _, c := range config.Configs {
		if c.Key == key {
			return c.MaybeValue(), nil
		}
	}
	return "", fmt.Errorf("%s has no %s", resource, key)
}

func describeConfigs() error {
	retention := "12345000"
	if err := create("fg-configs", 1, map[string]*string{"retention.ms": &retention}); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		configs, err := a.DescribeTopicConfigs(soon(), "fg-configs")
		got, err := value(configs, err, "fg-configs", "retention.ms")
		policy, err2 := value(configs, err, "fg-configs", "cleanup.policy")
		if err := h.First(err, err2, h.Equal(got, retention, "retention.ms"), h.Equal(policy, "delete", "cleanup.policy")); err != nil {
			return err
		}
		for id := range h.Brokers() {
			brokers, err := a.DescribeBrokerConfigs(soon(), id)
			if err != nil {
				return err
			}
			for _, b := range brokers {
				if b.Err != nil || len(b.Configs) == 0 {
					return fmt.Errorf("broker %s has %d configs: %v", b.Name, len(b.Configs), b.Err)
				}
			}
		}
		return nil
	})
}

func alterConfigs() error {
	if err := create("fg-alter", 1, nil); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		alter := func(change kadm.AlterConfig) error {
			results, err := a.AlterTopicConfigs(soon(), []kadm.AlterConfig{change}, "fg-alter")
			if err != nil {
				return err
			}
			result, err := results.On("fg-alter", nil)
			return h.First(err, result.Err)
		}
		look := func(wanted bool) error {
			return h.Until("the value", func() error {
				configs, err := a.DescribeTopicConfigs(soon(), "fg-alter")
				got, err := value(configs, err, "fg-alter", "retention.ms")
				return h.First(err, h.Equal(got == "777000", wanted, "whether retention.ms is 777000"))
			})
		}
		set := "777000"
		return h.First(alter(kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: &set}), look(true),
			alter(kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}), look(false))
	})
}

func createPartitions() error {
	if err := create("fg-partitions", 1, nil); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		made, err := a.UpdatePartitions(soon(), 4, "fg-partitions")
		if err != nil {
			return err
		}
		if result, err := made.On("fg-partitions", nil); h.First(err, result.Err) != nil {
			return h.First(err, result.Err)
		}
		err = h.Until("four partitions", func() error {
			found, err := a.ListTopics(soon(), "fg-partitions")
			return h.First(err, h.Equal(len(found["fg-partitions"].Partitions), 4, "partitions"))
		})
		if err = h.First(err, produce(simple("fg-partitions", 3, 5))); err != nil {
			return err
		}
		read, err := consume("fg-partitions", []int32{3}, 5)
		return h.First(err, h.Equal(len(read), 5, "records"))
	})
}

func deleteRecords() error {
	if err := h.First(create("fg-delete-records", 1, nil), produce(simple("fg-delete-records", 0, 50))); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		offsets := kadm.Offsets{}
		offsets.AddOffset("fg-delete-records", 0, 30, -1)
		ctx := soon()
		deleted, err := a.DeleteRecords(ctx, offsets)
		// The client does not try again by itself while the partition has no leader, which the protocol calls retriable.
		for shards := (*kadm.ShardErrors)(nil); errors.As(err, &shards) && kerr.IsRetriable(shards.Errs[0].Err) && ctx.Err() == nil; {
			time.Sleep(100 * time.Millisecond)
			deleted, err = a.DeleteRecords(ctx, offsets)
		}
		if err != nil {
			return err
		}
		result, _ := deleted.Lookup("fg-delete-records", 0)
		if err := h.First(result.Err, h.Equal(result.LowWatermark, int64(30), "low watermark")); err != nil {
			return err
		}
		read, err := consume("fg-delete-records", []int32{0}, 20)
		return h.First(err, h.Equal(read[0].Offset, int64(30), "the first offset left"), h.Equal(len(read), 20, "records left"))
	})
}

// finished makes a group that has committed offset 10 of a topic of its name, and has no members.
func finished(group string) error {
	if err := h.First(create(group, 1, nil), produce(simple(group, 0, 10))); err != nil {
		return err
	}
	c := client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	defer c.Close()
	read, err := poll(c, 10)
	if err != nil {
		return err
	}
	return c.CommitRecords(soon(), read...)
}

func listGroups() error {
	if err := finished("fg-list"); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		found, err := a.ListGroups(soon())
		group, ok := found["fg-list"]
		return h.First(err, h.Equal(ok, true, "the group is listed"), h.Equal(group.ProtocolType, "consumer", "protocol type"))
	})
}

func describeGroups() error {
	if err := create("fg-describe", h.Partitions, nil); err != nil {
		return err
	}
	m := join("fg-describe", "fg-describe", kgo.ClientID("somebody"))
	defer m.leave()
	if err := share(m); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		found, err := a.DescribeGroups(soon(), "fg-describe")
		if err != nil {
			return err
		}
		group := found["fg-describe"]
		if err := h.First(group.Err, h.Equal(group.State, "Stable", "state"), h.Equal(len(group.Members), 1, "members")); err != nil {
			return err
		}
		assigned, _ := group.Members[0].Assigned.AsConsumer()
		if assigned == nil || len(assigned.Topics) != 1 {
			return errors.New("the member has no assignment")
		}
		slices.Sort(assigned.Topics[0].Partitions)
		return h.First(h.Equal(group.Members[0].ClientID, "somebody", "client id"), h.Equal(assigned.Topics[0].Partitions, all(), "assignment"))
	})
}

func deleteGroups() error {
	if err := finished("fg-delete-group"); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		deleted, err := a.DeleteGroups(soon(), "fg-delete-group")
		if err = h.First(err, deleted["fg-delete-group"].Err); err != nil {
			return err
		}
		found, err := a.ListGroups(soon())
		_, ok := found["fg-delete-group"]
		return h.First(err, h.Equal(ok, false, "whether the group is listed"))
	})
}

func alterGroupOffsets() error {
	if err := finished("fg-alter-group"); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		offsets := kadm.Offsets{}
		offsets.AddOffset("fg-alter-group", 0, 4, -1)
		results, err := a.CommitOffsets(soon(), "fg-alter-group", offsets)
		if err = h.First(err, results.Error()); err != nil {
			return err
		}
		found, err := a.FetchOffsets(soon(), "fg-alter-group")
		at, _ := found.Lookup("fg-alter-group", 0)
		if err := h.First(err, h.Equal(at.At, int64(4), "offset")); err != nil {
			return err
		}
		// OffsetDelete takes it away.
		gone, err := a.DeleteOffsets(soon(), "fg-alter-group", kadm.TopicsSet{"fg-alter-group": {0: {}}})
		if err = h.First(err, gone.Error()); err != nil {
			return err
		}
		found, err = a.FetchOffsets(soon(), "fg-alter-group")
		_, ok := found.Lookup("fg-alter-group", 0)
		return h.First(err, h.Equal(ok, false, "whether there is an offset"))
	})
}

func acls() error {
	return withAdmin(func(a *kadm.Client) error {
		builder := func() *kadm.ACLBuilder {
			return kadm.NewACLs().Topics("fg-acl").ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:somebody").
				AllowHosts("*").Operations(kadm.OpRead)
		}
		made, err := a.CreateACLs(soon(), builder())
		if err != nil {
			return err
		}
		for _, m := range made {
			if m.Err != nil {
				return m.Err
			}
		}
		count := func() (int, error) {
			found, err := a.DescribeACLs(soon(), builder())
			total := 0
			for _, f := range found {
				err = h.First(err, f.Err)
				total += len(f.Described)
			}
			return total, err
		}
		wait := func(wanted int) error {
			return h.Until("ACLs", func() error {
				got, err := count()
				return h.First(err, h.Equal(got, wanted, "ACLs"))
			})
		}
		if err := wait(1); err != nil {
			return err
		}
		deleted, err := a.DeleteACLs(soon(), builder())
		if err != nil {
			return err
		}
		total := 0
		for _, d := range deleted {
			total += len(d.Deleted)
		}
		return h.First(h.Equal(total, 1, "deleted"), wait(0))
	})
}

func scramUsers() error {
	return withAdmin(func(a *kadm.Client) error {
		upsert := kadm.UpsertSCRAM{User: "fg-user", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "secret"}
		altered, err := a.AlterUserSCRAMs(soon(), nil, []kadm.UpsertSCRAM{upsert})
		if err = h.First(err, altered["fg-user"].Err); err != nil {
			return err
		}
		look := func(wanted int) error {
			return h.Until("credentials", func() error {
				found, err := a.DescribeUserSCRAMs(soon(), "fg-user")
				return h.First(err, h.Equal(len(found["fg-user"].CredInfos), wanted, "credentials"))
			})
		}
		if err := look(1); err != nil {
			return err
		}
		altered, err = a.AlterUserSCRAMs(soon(), []kadm.DeleteSCRAM{{User: "fg-user", Mechanism: kadm.ScramSha256}}, nil)
		return h.First(err, altered["fg-user"].Err, look(0))
	})
}

func deleteTopic() error {
	if err := create("fg-delete", 1, nil); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		deleted, err := a.DeleteTopics(soon(), "fg-delete")
		if err = h.First(err, deleted["fg-delete"].Err); err != nil {
			return err
		}
		return h.Until("it is gone", func() error {
			found, err := a.ListTopics(soon())
			_, ok := found["fg-delete"]
			return h.First(err, h.Equal(ok, false, "whether it is listed"))
		})
	})
}

func largeRecord() error {
	if err := create("fg-large", 1, nil); err != nil {
		return err
	}
	sent := make([]byte, 900*1024)
	_, _ = rand.Read(sent)
	if err := produce([]*kgo.Record{{Topic: "fg-large", Value: sent}}); err != nil {
		return err
	}
	read, err := consume("fg-large", []int32{0}, 1)
	return h.First(err, h.Equal(bytes.Equal(read[0].Value, sent), true, "whether the value is as it was sent"))
}

func tombstones() error {
	if err := create("fg-tombstones", 1, nil); err != nil {
		return err
	}
	sent := [][2][]byte{{[]byte("a"), nil}, {[]byte("b"), {}}, {nil, []byte("c")}, {{}, []byte("d")}, {nil, nil}}
	var records []*kgo.Record
	for _, s := range sent {
		records = append(records, &kgo.Record{Topic: "fg-tombstones", Key: s[0], Value: s[1]})
	}
	if err := produce(records); err != nil {
		return err
	}
	read, err := consume("fg-tombstones", []int32{0}, len(sent))
	if err != nil {
		return err
	}
	for i, r := range read {
		got := fmt.Sprintf("%q/%v %q/%v", r.Key, r.Key == nil, r.Value, r.Value == nil)
		wanted := fmt.Sprintf("%q/%v %q/%v", sent[i][0], sent[i][0] == nil, sent[i][1], sent[i][1] == nil)
		if err := h.Equal(got, wanted, fmt.Sprintf("record %d", i)); err != nil {
			return err
		}
	}
	return nil
}

func unknownTopic() error {
	err := withAdmin(func(a *kadm.Client) error {
		found, err := a.ListTopics(soon(), "fg-nowhere")
		return h.First(err, found["fg-nowhere"].Err)
	})
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("describing it: %v", err)
	}
	err = produce([]*kgo.Record{{Topic: "fg-nowhere", Value: []byte("x")}}, kgo.UnknownTopicRetries(1))
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("producing to it: %v", err)
	}
	return nil
}

func describeCluster() error {
	c := client()
	defer c.Close()
	response, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(soon(), c)
	if err != nil {
		return err
	}
	got := map[int32]string{}
	for _, b := range response.Brokers {
		got[b.NodeID] = net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
	}
	return h.First(h.Equal(got, h.Brokers(), "brokers"), h.Equal(response.ErrorCode, int16(0), "error"))
}

func roundTrip(topic string) error {
	if err := h.First(create(topic, 1, nil), produce(simple(topic, 0, 10))); err != nil {
		return err
	}
	got, err := values(topic, 10)
	return h.First(err, h.Equal(got, numbered("v", 0, 10), "values"))
}

func mechanism(name, password string) kgo.Opt {
	user := h.User(name)
	switch name {
	case "SCRAM-SHA-256":
		return kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism())
	case "SCRAM-SHA-512":
		return kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism())
	default:
		return kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())
	}
}

func sasl(name string) h.Check {
	return h.Check{Name: "sasl-" + strings.ToLower(name), Run: func() error {
		security = []kgo.Opt{mechanism(name, os.Getenv("HOPWISE_PASSWORD"))}
		return roundTrip("fg-" + strings.ToLower(name))
	}}
}

func saslWrongPassword() error {
	for _, name := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		security = []kgo.Opt{mechanism(name, "wrong")}
		c := client()
		err := c.Ping(within(10 * time.Second))
		c.Close()
		if !errors.Is(err, kerr.SaslAuthenticationFailed) {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	return nil
}

func tlsCheck() error {
	pem, err := os.ReadFile(os.Getenv("HOPWISE_CA"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("the authority's certificate cannot be read")
	}
	security = []kgo.Opt{kgo.DialTLSConfig(&tls.Config{RootCAs: pool})}
	if err := roundTrip("fg-tls"); err != nil {
		return err
	}
	// An authority that nobody trusts.
	security = []kgo.Opt{kgo.DialTLSConfig(&tls.Config{RootCAs: x509.NewCertPool()})}
	c := client()
	defer c.Close()
	if err := c.Ping(within(5 * time.Second)); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		return fmt.Errorf("an unknown authority: %v", err)
	}
	return nil
}

func restartWrite() error {
	if err := h.First(create("fg-restart", 1, nil), produce(simple("fg-restart", 0, 20))); err != nil {
		return err
	}
	return withAdmin(func(a *kadm.Client) error {
		offsets := kadm.Offsets{}
		offsets.AddOffset("fg-restart", 0, 12, -1)
		results, err := a.CommitOffsets(soon(), "fg-restart", offsets)
		return h.First(err, results.Error())
	})
}

func restartRead() error {
	c := client(kgo.ConsumerGroup("fg-restart"), kgo.ConsumeTopics("fg-restart"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	read, err := poll(c, 8)
	if err := h.First(err); err != nil {
		return err
	}
	got, err := values("fg-restart", 20)
	return h.First(err, h.Equal(read[0].Offset, int64(12), "where the group goes on"), h.Equal(got, numbered("v", 0, 20), "values"))
}

func main() {
	check := func(name string, run func() error) h.Check { return h.Check{Name: name, Run: run} }
	h.Main(map[string][]h.Check{
		"plain": {
			check("metadata", metadata), check("create-topic", createTopic), check("produce-fetch", produceFetch),
			codec("none", kgo.NoCompression()), codec("gzip", kgo.GzipCompression()), codec("snappy", kgo.SnappyCompression()),
			codec("lz4", kgo.Lz4Compression()), codec("zstd", kgo.ZstdCompression()),
			check("idempotent-producer", idempotentProducer), check("transaction-commit", transactionCommit),
			check("transaction-abort", transactionAbort), check("transaction-offsets", transactionOffsets),
			check("list-offsets", listOffsets), check("out-of-range-reset", outOfRangeReset), check("fetch-session", fetchSession),
			check("group-rebalance", groupRebalance), check("group-static", groupStatic), check("group-cooperative", groupCooperative),
			check("group-offsets", groupOffsets), check("describe-configs", describeConfigs), check("alter-configs", alterConfigs),
			check("create-partitions", createPartitions), check("delete-records", deleteRecords), check("list-groups", listGroups),
			check("describe-groups", describeGroups), check("delete-groups", deleteGroups), check("alter-group-offsets", alterGroupOffsets),
			check("acls", acls), check("scram-users", scramUsers), check("delete-topic", deleteTopic),
			check("large-record", largeRecord), check("tombstones", tombstones), check("unknown-topic", unknownTopic),
			check("describe-cluster", describeCluster),
			{Name: "kip-848", NotApplicable: "the client does not offer KIP-848 groups in its stable interface"},
		},
		"sasl":          {sasl("PLAIN"), sasl("SCRAM-SHA-256"), sasl("SCRAM-SHA-512"), check("sasl-wrong-password", saslWrongPassword)},
		"tls":           {check("tls", tlsCheck)},
		"restart-write": {check("restart-write", restartWrite)},
		"restart-read":  {check("restart-read", restartRead)},
	})
}
