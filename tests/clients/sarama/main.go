// sarama: the checks.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	h "hopwise/clients/harness"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// security changes a configuration as the mode asks.
var security = func(*sarama.Config) {}

func config(changes ...func(*sarama.Config)) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_6_0_0
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	// After a restart of all brokers an election takes longer than sarama's three attempts within a second.
	c.Metadata.Retry.Max = 40
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = 10*time.Second, 20*time.Second, 20*time.Second
	security(c)
	for _, change := range changes {
		change(c)
	}
	return c
}

func withAdmin(f func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin(h.Bootstrap(), config())
	if err != nil {
		return err
	}
	defer admin.Close()
	return f(admin)
}

func describe(admin sarama.ClusterAdmin, topic string) (*sarama.TopicMetadata, error) {
	found, err := admin.DescribeTopics([]string{topic})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d topics", len(found))
	}
	if found[0].Err != sarama.ErrNoError {
		return nil, found[0].Err
	}
	return found[0], nil
}

func create(topic string, partitions int, configs map[string]*string) error {
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: int16(h.Replicas()), ConfigEntries: configs}
		if err := admin.CreateTopic(topic, detail, false); err != nil {
			return fmt.Errorf("creating %s: %w", topic, err)
		}
		return h.Until(topic+" is known", func() error {
			found, err := describe(admin, topic)
			if err != nil {
				return err
			}
			for _, p := range found.Partitions {
				if p.Leader < 0 {
					return fmt.Errorf("partition %d has no leader", p.ID)
				}
			}
			return h.Equal(len(found.Partitions), partitions, "partitions")
		})
	})
}

func simple(topic string, partition int32, count int) []*sarama.ProducerMessage {
	var messages []*sarama.ProducerMessage
	for i := range count {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: partition,
			Key: sarama.StringEncoder(fmt.Sprintf("k%d", i)), Value: sarama.StringEncoder(fmt.Sprintf("v%d", i)),
			Timestamp: time.UnixMilli(h.BaseMs + int64(i))})
	}
	return messages
}

func produce(messages []*sarama.ProducerMessage, changes ...func(*sarama.Config)) error {
	producer, err := sarama.NewSyncProducer(h.Bootstrap(), config(changes...))
	if err != nil {
		return err
	}
	defer producer.Close()
	return producer.SendMessages(messages)
}

func consume(topic string, partitions []int32, from int64, count int, changes ...func(*sarama.Config)) ([]*sarama.ConsumerMessage, error) {
	consumer, err := sarama.NewConsumer(h.Bootstrap(), config(changes...))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	messages, failures := make(chan *sarama.ConsumerMessage, count), make(chan error, len(partitions))
	for _, p := range partitions {
		of, err := consumer.ConsumePartition(topic, p, from)
		if err != nil {
			return nil, err
		}
		defer of.AsyncClose()
		go func() {
			for m := range of.Messages() {
				messages <- m
			}
		}()
		go func() {
			for e := range of.Errors() {
				select {
				case failures <- e.Err:
				default:
				}
			}
		}()
	}
	var got []*sarama.ConsumerMessage
	late := time.After(h.Patience)
	for len(got) < count {
		select {
		case m := <-messages:
			got = append(got, m)
		case err := <-failures:
			return got, err
		case <-late:
			return got, fmt.Errorf("%d of %d messages within %v", len(got), count, h.Patience)
		}
	}
	return got, nil
}

func values(messages []*sarama.ConsumerMessage) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Value))
	}
	return all
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
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		brokers, controller, err := admin.DescribeCluster()
		if err != nil {
			return err
		}
		got := map[int32]string{}
		for _, b := range brokers {
			got[b.ID()] = b.Addr()
		}
		if _, ok := got[controller]; !ok {
			return fmt.Errorf("controller %d is no broker", controller)
		}
		return h.Equal(got, h.Brokers(), "brokers")
	})
}

func createTopic() error {
	if err := create("sa-create", h.Partitions, nil); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		found, err := describe(admin, "sa-create")
		if err != nil {
			return err
		}
		for _, p := range found.Partitions {
			replicas := slices.Clone(p.Replicas)
			slices.Sort(replicas)
			if len(slices.Compact(replicas)) != h.Replicas() || !slices.Contains(p.Replicas, p.Leader) {
				return fmt.Errorf("partition %d has replicas %v and leader %d", p.ID, p.Replicas, p.Leader)
			}
		}
		err = admin.CreateTopic("sa-create", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
		if !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return fmt.Errorf("creating it again: %v", err)
		}
		return nil
	})
}

func produceFetch() error {
	if err := create("sa-records", h.Partitions, nil); err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for i := range h.Records {
		w := h.Wanted(i)
		m := &sarama.ProducerMessage{Topic: "sa-records", Partition: int32(i % h.Partitions), Key: sarama.ByteEncoder(w.Key),
			Value: sarama.ByteEncoder(w.Value), Timestamp: time.UnixMilli(w.Ms)}
		for _, key := range []string{"number", "bytes"} {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(key), Value: []byte(w.Headers[key])})
		}
		messages = append(messages, m)
	}
	if err := produce(messages); err != nil {
		return err
	}
	got, err := consume("sa-records", all(), sarama.OffsetOldest, h.Records)
	if err != nil {
		return err
	}
	next := [h.Partitions]int{}
	for _, m := range got {
		p := int(m.Partition)
		headers := map[string]string{}
		for _, header := range m.Headers {
			headers[string(header.Key)] = string(header.Value)
		}
		read := h.Record{Key: m.Key, Value: m.Value, Headers: headers, Ms: m.Timestamp.UnixMilli()}
		if err := h.Equal(read, h.Wanted(next[p]*h.Partitions+p), fmt.Sprintf("record %d of partition %d", next[p], p)); err != nil {
			return err
		}
		next[p]++
	}
	return nil
}

func codec(name string, codec sarama.CompressionCodec) h.Check {
	return h.Check{Name: "codec-" + name, Run: func() error {
		topic := "sa-codec-" + name
		if err := create(topic, 1, nil); err != nil {
			return err
		}
		var messages []*sarama.ProducerMessage
		var wanted []string
		for i := range 100 {
			wanted = append(wanted, fmt.Sprintf("%d-%s", i, strings.Repeat("compressible ", 50)))
			messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(wanted[i])})
		}
		err := produce(messages, func(c *sarama.Config) { c.Producer.Compression = codec })
		if err != nil {
			return err
		}
		got, err := consume(topic, []int32{0}, sarama.OffsetOldest, 100)
		return h.First(err, h.Equal(values(got), wanted, "values"))
	}}
}

func idempotent(c *sarama.Config) {
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
}

func idempotentProducer() error {
	if err := create("sa-idempotent", 1, nil); err != nil {
		return err
	}
	messages := simple("sa-idempotent", 0, 500)
	if err := produce(messages, idempotent); err != nil {
		return err
	}
	for i, m := range messages {
		if m.Offset != int64(i) {
			return fmt.Errorf("record %d has offset %d", i, m.Offset)
		}
	}
	got, err := consume("sa-idempotent", []int32{0}, sarama.OffsetOldest, 500)
	return h.First(err, h.Equal(values(got), numbered("v", 0, 500), "values"))
}

func transactional(id string) (sarama.SyncProducer, error) {
	return sarama.NewSyncProducer(h.Bootstrap(), config(idempotent, func(c *sarama.Config) { c.Producer.Transaction.ID = id }))
}

func inTransaction(producer sarama.SyncProducer, topic string, sent ...string) error {
	if err := producer.BeginTxn(); err != nil {
		return err
	}
	for _, v := range sent {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(v)}); err != nil {
			return err
		}
	}
	return nil
}

func committed(c *sarama.Config) { c.Consumer.IsolationLevel = sarama.ReadCommitted }

func transactionCommit() error {
	if err := create("sa-commit", 1, nil); err != nil {
		return err
	}
	producer, err := transactional("sa-commit")
	if err != nil {
		return err
	}
	defer producer.Close()
	for start := 0; start < 20; start += 10 {
		if err := h.First(inTransaction(producer, "sa-commit", numbered("c", start, start+10)...), producer.CommitTxn()); err != nil {
			return err
		}
	}
	got, err := consume("sa-commit", []int32{0}, sarama.OffsetOldest, 20, committed)
	return h.First(err, h.Equal(values(got), numbered("c", 0, 20), "committed values"))
}

func transactionAbort() error {
	if err := create("sa-abort", 1, nil); err != nil {
		return err
	}
	producer, err := transactional("sa-abort")
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := inTransaction(producer, "sa-abort", "aborted", "aborted", "aborted"); err != nil {
		return err
	}
	if err := producer.AbortTxn(); err != nil {
		return err
	}
	if err := inTransaction(producer, "sa-abort", "kept"); err != nil {
		return err
	}
	if err := producer.CommitTxn(); err != nil {
		return err
	}
	got, err := consume("sa-abort", []int32{0}, sarama.OffsetOldest, 1, committed)
	if err = h.First(err, h.Equal(values(got), []string{"kept"}, "read_committed")); err != nil {
		return err
	}
	got, err = consume("sa-abort", []int32{0}, sarama.OffsetOldest, 4)
	return h.First(err, h.Equal(values(got), []string{"aborted", "aborted", "aborted", "kept"}, "read_uncommitted"))
}

// groupOffset asks until the coordinator has loaded: sarama's admin client does not repeat the request by itself.
func groupOffset(group, topic string) (int64, error) {
	at := int64(-99)
	err := h.Until("the group's coordinator", func() error {
		var err error
		at, err = groupOffsetOnce(group, topic)
		return err
	})
	return at, err
}

func groupOffsetOnce(group, topic string) (int64, error) {
	at := int64(-99)
	err := withAdmin(func(admin sarama.ClusterAdmin) error {
		found, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
		if err != nil {
			return err
		}
		if block := found.GetBlock(topic, 0); block != nil {
			at = block.Offset
		}
		return nil
	})
	return at, err
}

func transactionOffsets() error {
	if err := h.First(create("sa-source", 1, nil), create("sa-sink", 1, nil), produce(simple("sa-source", 0, 10))); err != nil {
		return err
	}
	producer, err := transactional("sa-offsets")
	if err != nil {
		return err
	}
	defer producer.Close()
	offsets := map[string][]*sarama.PartitionOffsetMetadata{"sa-source": {{Partition: 0, Offset: 10, LeaderEpoch: -1}}}
	if err := h.First(inTransaction(producer, "sa-sink", "abort"), producer.AddOffsetsToTxn(offsets, "sa-txn")); err != nil {
		return err
	}
	if err := producer.AbortTxn(); err != nil {
		return err
	}
	at, err := groupOffset("sa-txn", "sa-source")
	if err := h.First(err, h.Equal(at, int64(-1), "offset after an abort")); err != nil {
		return err
	}
	if err := h.First(inTransaction(producer, "sa-sink", "commit"), producer.AddOffsetsToTxn(offsets, "sa-txn")); err != nil {
		return err
	}
	if err := producer.CommitTxn(); err != nil {
		return err
	}
	err = h.Until("the offset", func() error {
		at, err := groupOffset("sa-txn", "sa-source")
		return h.First(err, h.Equal(at, int64(10), "offset after a commit"))
	})
	if err != nil {
		return err
	}
	got, err := consume("sa-sink", []int32{0}, sarama.OffsetOldest, 1, committed)
	return h.First(err, h.Equal(values(got), []string{"commit"}, "the sink"))
}

func listOffsets() error {
	if err := h.First(create("sa-offsets", 1, nil), produce(simple("sa-offsets", 0, 100))); err != nil {
		return err
	}
	client, err := sarama.NewClient(h.Bootstrap(), config())
	if err != nil {
		return err
	}
	defer client.Close()
	at := func(when int64) int64 {
		offset, err := client.GetOffset("sa-offsets", 0, when)
		if err != nil {
			return -99
		}
		return offset
	}
	return h.First(h.Equal(at(sarama.OffsetOldest), int64(0), "earliest"), h.Equal(at(sarama.OffsetNewest), int64(100), "latest"),
		h.Equal(at(h.BaseMs+42), int64(42), "by time"), h.Equal(at(h.BaseMs+1e9), int64(-1), "after the last"))
}

func outOfRangeReset() error {
	if err := h.First(create("sa-range", 1, nil), produce(simple("sa-range", 0, 10))); err != nil {
		return err
	}
	if _, err := consume("sa-range", []int32{0}, 1000, 1); !errors.Is(err, sarama.ErrOffsetOutOfRange) {
		return fmt.Errorf("an offset out of range: %v", err)
	}
	// A group's offset that is out of range is reset to the oldest.
	err := withOffsets("sa-range", func(manager sarama.PartitionOffsetManager) { manager.MarkOffset(1000, "") })
	if err != nil {
		return err
	}
	m := join("sa-range", "sa-range", func(c *sarama.Config) { c.Consumer.Group.ResetInvalidOffsets = true })
	defer m.leave()
	return h.Until("all records", func() error { return h.Equal(len(m.records()), 10, "records") })
}

func withOffsets(group string, f func(sarama.PartitionOffsetManager)) error {
	client, err := sarama.NewClient(h.Bootstrap(), config())
	if err != nil {
		return err
	}
	defer client.Close()
	offsets, err := sarama.NewOffsetManagerFromClient(group, client)
	if err != nil {
		return err
	}
	defer offsets.Close()
	partition, err := offsets.ManagePartition(group, 0)
	if err != nil {
		return err
	}
	f(partition)
	offsets.Commit()
	// Without automatic commits only the manager's end ends a partition; Close of the partition would wait for ever.
	partition.AsyncClose()
	if err := offsets.Close(); err != nil {
		return err
	}
	for err := range partition.Errors() {
		return err
	}
	return nil
}

// member is a group member whose claims are consumed on goroutines.
type member struct {
	group   sarama.ConsumerGroup
	cancel  context.CancelFunc
	done    chan struct{}
	mutex   sync.Mutex
	has     []int32
	lost    int
	seen    map[string]bool
	mark    func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)
	failure error
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.has = nil
	for _, partitions := range s.Claims() {
		m.has = append(m.has, partitions...)
	}
	slices.Sort(m.has)
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.has = nil
	m.lost++
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			m.mutex.Lock()
			m.seen[fmt.Sprintf("%d/%d", message.Partition, message.Offset)] = true
			m.mutex.Unlock()
			if m.mark != nil {
				m.mark(s, message)
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func join(group, topic string, changes ...func(*sarama.Config)) *member {
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{cancel: cancel, done: make(chan struct{}), seen: map[string]bool{}}
	m.group, m.failure = sarama.NewConsumerGroup(h.Bootstrap(), group, config(changes...))
	if m.failure != nil {
		close(m.done)
		return m
	}
	go func() {
		for range m.group.Errors() {
		}
	}()
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := m.group.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
				m.mutex.Lock()
				m.failure = err
				m.mutex.Unlock()
				time.Sleep(200 * time.Millisecond)
			}
		}
	}()
	return m
}

func (m *member) partitions() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Clone(m.has)
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

func (m *member) losses() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.lost
}

func (m *member) leave() {
	m.cancel()
	<-m.done
	if m.group != nil {
		_ = m.group.Close()
	}
}

func share(members ...*member) error {
	return h.Until(fmt.Sprintf("%d members share", len(members)), func() error {
		var together []int32
		for _, m := range members {
			have := m.partitions()
			if len(have) == 0 {
				return fmt.Errorf("a member has none: %v", m.failure)
			}
			together = append(together, have...)
		}
		slices.Sort(together)
		return h.Equal(together, all(), "partitions")
	})
}

func groupRebalance() error {
	if err := create("sa-group", h.Partitions, nil); err != nil {
		return err
	}
	first := join("sa-group", "sa-group")
	if err := share(first); err != nil {
		return err
	}
	second := join("sa-group", "sa-group")
	defer second.leave()
	if err := share(first, second); err != nil {
		return err
	}
	for _, p := range all() {
		if err := produce(simple("sa-group", p, 10)); err != nil {
			return err
		}
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
	if err := create("sa-static", h.Partitions, nil); err != nil {
		return err
	}
	instance := func(id string) func(*sarama.Config) {
		return func(c *sarama.Config) { c.Consumer.Group.InstanceId = id }
	}
	a, b := join("sa-static", "sa-static", instance("a")), join("sa-static", "sa-static", instance("b"))
	defer b.leave()
	if err := share(a, b); err != nil {
		return err
	}
	before, lost := a.partitions(), b.losses()
	a.leave()
	again := join("sa-static", "sa-static", instance("a"))
	defer again.leave()
	if err := h.Until("it is back", func() error { return h.Equal(again.partitions(), before, "partitions") }); err != nil {
		return err
	}
	return h.Equal(b.losses(), lost, "rebalances of the other")
}

func groupOffsets() error {
	if err := h.First(create("sa-committed", 1, nil), produce(simple("sa-committed", 0, 20))); err != nil {
		return err
	}
	if err := withOffsets("sa-committed", func(m sarama.PartitionOffsetManager) { m.MarkOffset(12, "note") }); err != nil {
		return err
	}
	m := join("sa-committed", "sa-committed")
	defer m.leave()
	if err := h.Until("records", func() error { return h.Equal(len(m.records()), 8, "records after the committed offset") }); err != nil {
		return err
	}
	if !m.records()["0/12"] || m.records()["0/11"] {
		return fmt.Errorf("a new member goes on at another offset than 12: %v", m.records())
	}
	return nil
}

func configOf(admin sarama.ClusterAdmin, kind sarama.ConfigResourceType, resource string) (map[string]string, error) {
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: kind, Name: resource})
	got := map[string]string{}
	for _, e := range entries {
		got[e.Name] = e.Value
	}
	return got, err
}

func describeConfigs() error {
	retention := "12345000"
	if err := create("sa-configs", 1, map[string]*string{"retention.ms": &retention}); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		got, err := configOf(admin, sarama.TopicResource, "sa-configs")
		if err := h.First(err, h.Equal(got["retention.ms"], retention, "retention.ms"), h.Equal(got["cleanup.policy"], "delete", "cleanup.policy")); err != nil {
			return err
		}
		for id := range h.Brokers() {
			got, err := configOf(admin, sarama.BrokerResource, fmt.Sprint(id))
			if err != nil || len(got) == 0 {
				return fmt.Errorf("broker %d has %d configs: %v", id, len(got), err)
			}
		}
		return nil
	})
}

func alterConfigs() error {
	if err := create("sa-alter", 1, nil); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		alter := func(op sarama.IncrementalAlterConfigsOperation, value *string) error {
			entries := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: op, Value: value}}
			return admin.IncrementalAlterConfig(sarama.TopicResource, "sa-alter", entries, false)
		}
		look := func(wanted bool) error {
			return h.Until("the value", func() error {
				got, err := configOf(admin, sarama.TopicResource, "sa-alter")
				return h.First(err, h.Equal(got["retention.ms"] == "777000", wanted, "whether retention.ms is 777000"))
			})
		}
		set := "777000"
		if err := alter(sarama.IncrementalAlterConfigsOperationSet, &set); err != nil {
			return err
		}
		if err := look(true); err != nil {
			return err
		}
		return h.First(alter(sarama.IncrementalAlterConfigsOperationDelete, nil), look(false))
	})
}

func createPartitions() error {
	if err := create("sa-partitions", 1, nil); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		if err := admin.CreatePartitions("sa-partitions", 4, nil, false); err != nil {
			return err
		}
		err := h.Until("four partitions", func() error {
			found, err := describe(admin, "sa-partitions")
			if err != nil {
				return err
			}
			return h.Equal(len(found.Partitions), 4, "partitions")
		})
		if err = h.First(err, produce(simple("sa-partitions", 3, 5))); err != nil {
			return err
		}
		got, err := consume("sa-partitions", []int32{3}, sarama.OffsetOldest, 5)
		return h.First(err, h.Equal(values(got), numbered("v", 0, 5), "values"))
	})
}

func deleteRecords() error {
	if err := h.First(create("sa-delete-records", 1, nil), produce(simple("sa-delete-records", 0, 50))); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		if err := admin.DeleteRecords("sa-delete-records", map[int32]int64{0: 30}); err != nil {
			return err
		}
		got, err := consume("sa-delete-records", []int32{0}, sarama.OffsetOldest, 20)
		return h.First(err, h.Equal(values(got), numbered("v", 30, 50), "values that are left"))
	})
}

func finished(group string) error {
	return h.First(create(group, 1, nil), produce(simple(group, 0, 10)),
		withOffsets(group, func(m sarama.PartitionOffsetManager) { m.MarkOffset(10, "") }))
}

func listGroups() error {
	if err := finished("sa-list"); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		found, err := admin.ListConsumerGroups()
		_, ok := found["sa-list"]
		return h.First(err, h.Equal(ok, true, "whether the group is listed"))
	})
}

func describeGroups() error {
	if err := create("sa-describe", h.Partitions, nil); err != nil {
		return err
	}
	m := join("sa-describe", "sa-describe", func(c *sarama.Config) { c.ClientID = "somebody" })
	defer m.leave()
	if err := share(m); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		found, err := admin.DescribeConsumerGroups([]string{"sa-describe"})
		if err != nil {
			return err
		}
		if err := h.First(h.Equal(found[0].State, "Stable", "state"), h.Equal(len(found[0].Members), 1, "members")); err != nil {
			return err
		}
		for _, described := range found[0].Members {
			assignment, err := described.GetMemberAssignment()
			if err != nil {
				return err
			}
			got := assignment.Topics["sa-describe"]
			slices.Sort(got)
			return h.First(h.Equal(described.ClientId, "somebody", "client id"), h.Equal(got, all(), "assignment"))
		}
		return nil
	})
}

func deleteGroups() error {
	if err := finished("sa-delete-group"); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		if err := admin.DeleteConsumerGroup("sa-delete-group"); err != nil {
			return err
		}
		found, err := admin.ListConsumerGroups()
		_, ok := found["sa-delete-group"]
		return h.First(err, h.Equal(ok, false, "whether the group is listed"))
	})
}

func alterGroupOffsets() error {
	if err := finished("sa-alter-group"); err != nil {
		return err
	}
	if err := withOffsets("sa-alter-group", func(m sarama.PartitionOffsetManager) { m.ResetOffset(4, "") }); err != nil {
		return err
	}
	at, err := groupOffset("sa-alter-group", "sa-alter-group")
	if err := h.First(err, h.Equal(at, int64(4), "offset")); err != nil {
		return err
	}
	err = withAdmin(func(admin sarama.ClusterAdmin) error {
		return admin.DeleteConsumerGroupOffset("sa-alter-group", "sa-alter-group", 0)
	})
	if err != nil {
		return err
	}
	at, err = groupOffset("sa-alter-group", "sa-alter-group")
	return h.First(err, h.Equal(at, int64(-1), "offset after its deletion"))
}

func acls() error {
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		resource := sarama.Resource{ResourceType: sarama.AclResourceTopic, ResourceName: "sa-acl", ResourcePatternType: sarama.AclPatternLiteral}
		acl := sarama.Acl{Principal: "User:somebody", Host: "*", Operation: sarama.AclOperationRead, PermissionType: sarama.AclPermissionAllow}
		if err := admin.CreateACL(resource, acl); err != nil {
			return err
		}
		name := "sa-acl"
		filter := sarama.AclFilter{Version: 1, ResourceType: sarama.AclResourceTopic, ResourceName: &name,
			ResourcePatternTypeFilter: sarama.AclPatternLiteral, Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny}
		look := func(wanted int) error {
			return h.Until("ACLs", func() error {
				found, err := admin.ListAcls(filter)
				total := 0
				for _, f := range found {
					total += len(f.Acls)
				}
				return h.First(err, h.Equal(total, wanted, "ACLs"))
			})
		}
		if err := look(1); err != nil {
			return err
		}
		deleted, err := admin.DeleteACL(filter, false)
		return h.First(err, h.Equal(len(deleted), 1, "deleted"), look(0))
	})
}

func scramUsers() error {
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		results, err := admin.UpsertUserScramCredentials([]sarama.AlterUserScramCredentialsUpsert{{Name: "sa-user",
			Mechanism: sarama.SCRAM_MECHANISM_SHA_256, Iterations: 4096, Salt: []byte("salt-of-sarama"), Password: []byte("secret")}})
		if err != nil {
			return err
		}
		if results[0].ErrorCode != sarama.ErrNoError {
			return results[0].ErrorCode
		}
		look := func(wanted int) error {
			return h.Until("credentials", func() error {
				found, err := admin.DescribeUserScramCredentials([]string{"sa-user"})
				if err != nil || len(found) != 1 {
					return fmt.Errorf("%d users: %v", len(found), err)
				}
				return h.Equal(len(found[0].CredentialInfos), wanted, "credentials")
			})
		}
		if err := look(1); err != nil {
			return err
		}
		results, err = admin.DeleteUserScramCredentials([]sarama.AlterUserScramCredentialsDelete{{Name: "sa-user", Mechanism: sarama.SCRAM_MECHANISM_SHA_256}})
		if err != nil {
			return err
		}
		return h.First(h.Equal(results[0].ErrorCode, sarama.ErrNoError, "error"), look(0))
	})
}

func deleteTopic() error {
	if err := create("sa-delete", 1, nil); err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		if err := admin.DeleteTopic("sa-delete"); err != nil {
			return err
		}
		return h.Until("it is gone", func() error {
			found, err := admin.ListTopics()
			_, ok := found["sa-delete"]
			return h.First(err, h.Equal(ok, false, "whether it is listed"))
		})
	})
}

func largeRecord() error {
	if err := create("sa-large", 1, nil); err != nil {
		return err
	}
	sent := make([]byte, 900*1024)
	_, _ = rand.Read(sent)
	err := produce([]*sarama.ProducerMessage{{Topic: "sa-large", Value: sarama.ByteEncoder(sent)}})
	if err != nil {
		return err
	}
	got, err := consume("sa-large", []int32{0}, sarama.OffsetOldest, 1)
	if err != nil {
		return err
	}
	return h.Equal(bytes.Equal(got[0].Value, sent), true, "whether the value is as it was sent")
}

func tombstones() error {
	if err := create("sa-tombstones", 1, nil); err != nil {
		return err
	}
	err := produce([]*sarama.ProducerMessage{
		{Topic: "sa-tombstones", Key: sarama.StringEncoder("a")},
		{Topic: "sa-tombstones", Key: sarama.StringEncoder("b"), Value: sarama.ByteEncoder{}},
		{Topic: "sa-tombstones", Value: sarama.StringEncoder("c")},
	})
	if err != nil {
		return err
	}
	got, err := consume("sa-tombstones", []int32{0}, sarama.OffsetOldest, 3)
	if err != nil {
		return err
	}
	var read []string
	for _, m := range got {
		read = append(read, fmt.Sprintf("%q/%v %q/%v", m.Key, m.Key == nil, m.Value, m.Value == nil))
	}
	return h.Equal(read, []string{`"a"/false ""/true`, `"b"/false ""/false`, `""/true "c"/false`}, "keys and values")
}

func unknownTopic() error {
	err := withAdmin(func(admin sarama.ClusterAdmin) error {
		_, err := describe(admin, "sa-nowhere")
		return err
	})
	if !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		return fmt.Errorf("describing it: %v", err)
	}
	err = produce([]*sarama.ProducerMessage{{Topic: "sa-nowhere", Value: sarama.StringEncoder("x")}}, func(c *sarama.Config) {
		c.Metadata.AllowAutoTopicCreation = false
		c.Metadata.Retry.Max = 1
	})
	var failures sarama.ProducerErrors
	if !errors.As(err, &failures) || !errors.Is(failures[0].Err, sarama.ErrUnknownTopicOrPartition) {
		return fmt.Errorf("producing to it: %v", err)
	}
	return nil
}

func describeCluster() error {
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		brokers, _, err := admin.DescribeCluster()
		return h.First(err, h.Equal(len(brokers), len(h.Brokers()), "brokers"))
	})
}

func roundTrip(topic string) error {
	if err := h.First(create(topic, 1, nil), produce(simple(topic, 0, 10))); err != nil {
		return err
	}
	got, err := consume(topic, []int32{0}, sarama.OffsetOldest, 10)
	return h.First(err, h.Equal(values(got), numbered("v", 0, 10), "values"))
}

// conversation is SCRAM by the library that sarama's own examples use.
type conversation struct {
	hash scram.HashGeneratorFcn
	*scram.ClientConversation
}

func (c *conversation) Begin(user, password, authorization string) error {
	client, err := c.hash.NewClient(user, password, authorization)
	if err == nil {
		c.ClientConversation = client.NewConversation()
	}
	return err
}

func secured(mechanism, password string) func(*sarama.Config) {
	return func(c *sarama.Config) {
		c.Net.SASL.Enable, c.Net.SASL.Mechanism = true, sarama.SASLMechanism(mechanism)
		c.Net.SASL.User, c.Net.SASL.Password = h.User(mechanism), password
		hash := scram.HashGeneratorFcn(sha256.New)
		if mechanism == "SCRAM-SHA-512" {
			hash = sha512.New
		}
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{hash: hash} }
	}
}

func sasl(mechanism string) h.Check {
	return h.Check{Name: "sasl-" + strings.ToLower(mechanism), Run: func() error {
		security = secured(mechanism, os.Getenv("HOPWISE_PASSWORD"))
		return roundTrip("sa-" + strings.ToLower(mechanism))
	}}
}

func saslWrongPassword() error {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		broker := sarama.NewBroker(h.Bootstrap()[0])
		security = secured(mechanism, "wrong")
		err := broker.Open(config())
		if err == nil {
			_, err = broker.Connected()
		}
		if !errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
			return fmt.Errorf("%s: %v", mechanism, err)
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
	security = func(c *sarama.Config) { c.Net.TLS.Enable, c.Net.TLS.Config = true, &tls.Config{RootCAs: pool} }
	return roundTrip("sa-tls")
}

func restartWrite() error {
	return h.First(create("sa-restart", 1, nil), produce(simple("sa-restart", 0, 20)),
		withOffsets("sa-restart", func(m sarama.PartitionOffsetManager) { m.MarkOffset(12, "") }))
}

func restartRead() error {
	at, err := groupOffset("sa-restart", "sa-restart")
	if err := h.First(err, h.Equal(at, int64(12), "the group's offset")); err != nil {
		return err
	}
	got, err := consume("sa-restart", []int32{0}, sarama.OffsetOldest, 20)
	return h.First(err, h.Equal(values(got), numbered("v", 0, 20), "values"))
}

func main() {
	check := func(name string, run func() error) h.Check { return h.Check{Name: name, Run: run} }
	h.Main(map[string][]h.Check{
		"plain": {
			check("metadata", metadata), check("create-topic", createTopic), check("produce-fetch", produceFetch),
			codec("none", sarama.CompressionNone), codec("gzip", sarama.CompressionGZIP), codec("snappy", sarama.CompressionSnappy),
			codec("lz4", sarama.CompressionLZ4), codec("zstd", sarama.CompressionZSTD),
			check("idempotent-producer", idempotentProducer), check("transaction-commit", transactionCommit),
			check("transaction-abort", transactionAbort), check("transaction-offsets", transactionOffsets),
			check("list-offsets", listOffsets), check("out-of-range-reset", outOfRangeReset),
			{Name: "fetch-session", NotApplicable: "the client does not use fetch sessions"},
			check("group-rebalance", groupRebalance), check("group-static", groupStatic),
			{Name: "group-cooperative", NotApplicable: "the client has no cooperative assignor"},
			check("group-offsets", groupOffsets), check("describe-configs", describeConfigs), check("alter-configs", alterConfigs),
			check("create-partitions", createPartitions), check("delete-records", deleteRecords), check("list-groups", listGroups),
			check("describe-groups", describeGroups), check("delete-groups", deleteGroups), check("alter-group-offsets", alterGroupOffsets),
			check("acls", acls), check("scram-users", scramUsers), check("delete-topic", deleteTopic),
			check("large-record", largeRecord), check("tombstones", tombstones), check("unknown-topic", unknownTopic),
			check("describe-cluster", describeCluster),
			{Name: "kip-848", NotApplicable: "the client does not speak KIP-848"},
		},
		"sasl":          {sasl("PLAIN"), sasl("SCRAM-SHA-256"), sasl("SCRAM-SHA-512"), check("sasl-wrong-password", saslWrongPassword)},
		"tls":           {check("tls", tlsCheck)},
		"restart-write": {check("restart-write", restartWrite)},
		"restart-read":  {check("restart-read", restartRead)},
	})
}
