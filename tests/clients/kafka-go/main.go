// segmentio/kafka-go: the checks.
package main

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
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

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

var (
	mechanism sasl.Mechanism
	tlsConfig *tls.Config
)

func transport() *kafka.Transport {
	return &kafka.Transport{DialTimeout: 10 * time.Second, SASL: mechanism, TLS: tlsConfig, MetadataTTL: 500 * time.Millisecond}
}

func client() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(h.Bootstrap()...), Timeout: 20 * time.Second, Transport: transport()}
}

func soon() context.Context {
	// Ends with its time.
	ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
	_ = cancel
	return ctx
}

func described(topic string) (kafka.Topic, error) {
	found, err := client().Metadata(soon(), &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return kafka.Topic{}, err
	}
	if len(found.Topics) != 1 {
		return kafka.Topic{}, fmt.Errorf("%d topics", len(found.Topics))
	}
	return found.Topics[0], found.Topics[0].Error
}

func create(topic string, partitions int, configs ...kafka.ConfigEntry) error {
	made, err := client().CreateTopics(soon(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: h.Replicas(), ConfigEntries: configs}}})
	if err == nil {
		err = made.Errors[topic]
	}
	if err != nil {
		return fmt.Errorf("creating %s: %w", topic, err)
	}
	return h.Until(topic+" is known", func() error {
		found, err := described(topic)
		if err != nil {
			return err
		}
		for _, p := range found.Partitions {
			if p.Error != nil || p.Leader.Host == "" {
				return fmt.Errorf("partition %d has leader %q, %v", p.ID, p.Leader.Host, p.Error)
			}
		}
		return h.Equal(len(found.Partitions), partitions, "partitions")
	})
}

// toPartition sends each message where its writer data says.
type toPartition struct{}

func (toPartition) Balance(m kafka.Message, partitions ...int) int {
	if p, ok := m.WriterData.(int); ok {
		return p
	}
	return partitions[0]
}

func produce(topic string, messages []kafka.Message, changes ...func(*kafka.Writer)) error {
	w := &kafka.Writer{Addr: kafka.TCP(h.Bootstrap()...), Topic: topic, Balancer: toPartition{}, RequiredAcks: kafka.RequireAll,
		BatchTimeout: 20 * time.Millisecond, BatchSize: 1000, Transport: transport(), MaxAttempts: 5}
	for _, change := range changes {
		change(w)
	}
	defer w.Close()
	return w.WriteMessages(soon(), messages...)
}

func simple(partition, count int) []kafka.Message {
	var messages []kafka.Message
	for i := range count {
		messages = append(messages, kafka.Message{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i),
			Time: time.UnixMilli(h.BaseMs + int64(i)), WriterData: partition})
	}
	return messages
}

func dialer() *kafka.Dialer {
	return &kafka.Dialer{Timeout: 10 * time.Second, SASLMechanism: mechanism, TLS: tlsConfig}
}

func consume(topic string, partition int, from int64, count int, changes ...func(*kafka.ReaderConfig)) ([]kafka.Message, error) {
	config := kafka.ReaderConfig{Brokers: h.Bootstrap(), Topic: topic, Partition: partition, Dialer: dialer(), MinBytes: 1,
		MaxBytes: 10 << 20, MaxWait: 300 * time.Millisecond}
	for _, change := range changes {
		change(&config)
	}
	r := kafka.NewReader(config)
	defer r.Close()
	if config.GroupID == "" {
		if err := r.SetOffset(from); err != nil {
			return nil, err
		}
	}
	return read(r, count)
}

func read(r *kafka.Reader, count int) ([]kafka.Message, error) {
	var got []kafka.Message
	ctx := soon()
	for len(got) < count {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return got, fmt.Errorf("%d of %d messages: %w", len(got), count, err)
		}
		got = append(got, m)
	}
	return got, nil
}

func values(messages []kafka.Message) []string {
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

func metadata() error {
	found, err := client().Metadata(soon(), &kafka.MetadataRequest{})
	if err != nil {
		return err
	}
	got := map[int32]string{}
	for _, b := range found.Brokers {
		got[int32(b.ID)] = net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
	}
	if _, ok := got[int32(found.Controller.ID)]; !ok {
		return fmt.Errorf("controller %d is no broker", found.Controller.ID)
	}
	return h.Equal(got, h.Brokers(), "brokers")
}

func createTopic() error {
	if err := create("go-create", h.Partitions); err != nil {
		return err
	}
	found, err := described("go-create")
	if err != nil {
		return err
	}
	for _, p := range found.Partitions {
		replicas := map[int]bool{}
		for _, b := range p.Replicas {
			replicas[b.ID] = true
		}
		if len(replicas) != h.Replicas() || !replicas[p.Leader.ID] {
			return fmt.Errorf("partition %d has replicas %v and leader %d", p.ID, replicas, p.Leader.ID)
		}
	}
	err = create("go-create", 1)
	if !errors.Is(err, kafka.TopicAlreadyExists) {
		return fmt.Errorf("creating it again: %v", err)
	}
	return nil
}

func produceFetch() error {
	if err := create("go-records", h.Partitions); err != nil {
		return err
	}
	var messages []kafka.Message
	for i := range h.Records {
		w := h.Wanted(i)
		m := kafka.Message{Key: w.Key, Value: w.Value, Time: time.UnixMilli(w.Ms), WriterData: i % h.Partitions}
		for _, key := range []string{"number", "bytes"} {
			m.Headers = append(m.Headers, kafka.Header{Key: key, Value: []byte(w.Headers[key])})
		}
		messages = append(messages, m)
	}
	if err := produce("go-records", messages); err != nil {
		return err
	}
	for p := range h.Partitions {
		count := (h.Records - p + h.Partitions - 1) / h.Partitions
		got, err := consume("go-records", p, kafka.FirstOffset, count)
		if err != nil {
			return err
		}
		for n, m := range got {
			headers := map[string]string{}
			for _, header := range m.Headers {
				headers[header.Key] = string(header.Value)
			}
			back := h.Record{Key: m.Key, Value: m.Value, Headers: headers, Ms: m.Time.UnixMilli()}
			if err := h.Equal(back, h.Wanted(n*h.Partitions+p), fmt.Sprintf("record %d of partition %d", n, p)); err != nil {
				return err
			}
		}
	}
	return nil
}

func codec(name string, codec kafka.Compression) h.Check {
	return h.Check{Name: "codec-" + name, Run: func() error {
		topic := "go-codec-" + name
		if err := create(topic, 1); err != nil {
			return err
		}
		var messages []kafka.Message
		var wanted []string
		for i := range 100 {
			wanted = append(wanted, fmt.Sprintf("%d-%s", i, strings.Repeat("compressible ", 50)))
			messages = append(messages, kafka.Message{Value: []byte(wanted[i])})
		}
		if err := produce(topic, messages, func(w *kafka.Writer) { w.Compression = codec }); err != nil {
			return err
		}
		got, err := consume(topic, 0, kafka.FirstOffset, 100)
		return h.First(err, h.Equal(values(got), wanted, "values"))
	}}
}

func offsetAt(topic string, request kafka.OffsetRequest) (kafka.PartitionOffsets, error) {
	found, err := client().ListOffsets(soon(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {request}}})
	if err != nil {
		return kafka.PartitionOffsets{}, err
	}
	return found.Topics[topic][0], found.Topics[topic][0].Error
}

func listOffsets() error {
	if err := h.First(create("go-offsets", 1), produce("go-offsets", simple(0, 100))); err != nil {
		return err
	}
	first, err1 := offsetAt("go-offsets", kafka.FirstOffsetOf(0))
	last, err2 := offsetAt("go-offsets", kafka.LastOffsetOf(0))
	when := time.UnixMilli(h.BaseMs + 42)
	byTime, err3 := offsetAt("go-offsets", kafka.TimeOffsetOf(0, when))
	if err := h.First(err1, err2, err3, h.Equal(first.FirstOffset, int64(0), "earliest"), h.Equal(last.LastOffset, int64(100), "latest")); err != nil {
		return err
	}
	for offset := range byTime.Offsets {
		return h.Equal(offset, int64(42), "by time")
	}
	return fmt.Errorf("no offset by time: %+v", byTime)
}

func outOfRangeReset() error {
	if err := h.First(create("go-range", 1), produce("go-range", simple(0, 10))); err != nil {
		return err
	}
	// Unless asked for the error, the reader goes back to an offset that there is.
	_, err := consume("go-range", 0, 1000, 1, func(c *kafka.ReaderConfig) { c.OffsetOutOfRangeError = true })
	if !errors.Is(err, kafka.OffsetOutOfRange) {
		return fmt.Errorf("an offset out of range: %v", err)
	}
	got, err := consume("go-range", 0, kafka.FirstOffset, 10)
	return h.First(err, h.Equal(values(got), numbered("v", 0, 10), "values from the first offset"))
}

// member is a group member that takes part in generations itself, so that its partitions are known.
type member struct {
	group  *kafka.ConsumerGroup
	cancel context.CancelFunc
	done   chan struct{}
	mutex  sync.Mutex
	has    []int
}

func join(id, topic string) (*member, error) {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: id, Brokers: h.Bootstrap(), Topics: []string{topic}, Dialer: dialer(),
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: 6 * time.Second, RebalanceTimeout: 10 * time.Second,
		JoinGroupBackoff: 200 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group: group, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for {
			generation, err := group.Next(ctx)
			if ctx.Err() != nil || errors.Is(err, kafka.ErrGroupClosed) {
				return
			}
			if err != nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			m.mutex.Lock()
			m.has = nil
			for _, assignment := range generation.Assignments[topic] {
				m.has = append(m.has, assignment.ID)
			}
			m.mutex.Unlock()
			generation.Start(func(ended context.Context) {
				<-ended.Done()
				m.mutex.Lock()
				m.has = nil
				m.mutex.Unlock()
			})
		}
	}()
	return m, nil
}

func (m *member) partitions() []int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Clone(m.has)
}

func (m *member) leave() {
	_ = m.group.Close()
	m.cancel()
	<-m.done
}

func share(members ...*member) error {
	return h.Until(fmt.Sprintf("%d members share", len(members)), func() error {
		var together []int
		for _, m := range members {
			have := m.partitions()
			if len(have) == 0 {
				return errors.New("a member has none")
			}
			together = append(together, have...)
		}
		slices.Sort(together)
		return h.Equal(together, []int{0, 1, 2, 3, 4, 5}, "partitions")
	})
}

func groupRebalance() error {
	if err := create("go-group", h.Partitions); err != nil {
		return err
	}
	first, err := join("go-group", "go-group")
	if err = h.First(err); err != nil {
		return err
	}
	if err := share(first); err != nil {
		return err
	}
	second, err := join("go-group", "go-group")
	if err != nil {
		return err
	}
	defer second.leave()
	if err := share(first, second); err != nil {
		return err
	}
	first.leave()
	if err := share(second); err != nil {
		return err
	}
	for p := range h.Partitions {
		if err := produce("go-group", simple(p, 10)); err != nil {
			return err
		}
	}
	got, err := consume("go-group", 0, 0, 60, func(c *kafka.ReaderConfig) { inGroup(c, "go-group-readers") })
	seen := map[string]bool{}
	for _, m := range got {
		seen[fmt.Sprintf("%d/%d", m.Partition, m.Offset)] = true
	}
	return h.First(err, h.Equal(len(seen), 60, "records that a group reads"))
}

func inGroup(c *kafka.ReaderConfig, group string) {
	c.GroupID, c.StartOffset, c.Partition = group, kafka.FirstOffset, 0
	c.HeartbeatInterval, c.SessionTimeout, c.RebalanceTimeout = 500*time.Millisecond, 6*time.Second, 10*time.Second
}

func groupOffsets() error {
	if err := h.First(create("go-committed", 1), produce("go-committed", simple(0, 20))); err != nil {
		return err
	}
	config := kafka.ReaderConfig{Brokers: h.Bootstrap(), Topic: "go-committed", Dialer: dialer(), MaxWait: 300 * time.Millisecond}
	inGroup(&config, "go-committed")
	first := kafka.NewReader(config)
	got, err := read(first, 20)
	if err == nil {
		err = first.CommitMessages(soon(), got[11])
	}
	if err = h.First(err, first.Close()); err != nil {
		return err
	}
	second := kafka.NewReader(config)
	defer second.Close()
	got, err = read(second, 1)
	if err != nil {
		return err
	}
	return h.Equal(got[0].Offset, int64(12), "where a new member goes on")
}

func configsOf(kind kafka.ResourceType, name string) (map[string]string, error) {
	found, err := client().DescribeConfigs(soon(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kind, ResourceName: name}}})
	if err != nil {
		return nil, err
	}
	got := map[string]string{}
	for _, entry := range found.Resources[0].ConfigEntries {
		got[entry.ConfigName] = entry.ConfigValue
	}
	return got, found.Resources[0].Error
}

func describeConfigs() error {
	if err := create("go-configs", 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "12345000"}); err != nil {
		return err
	}
	got, err := configsOf(kafka.ResourceTypeTopic, "go-configs")
	if err := h.First(err, h.Equal(got["retention.ms"], "12345000", "retention.ms"), h.Equal(got["cleanup.policy"], "delete", "cleanup.policy")); err != nil {
		return err
	}
	for id := range h.Brokers() {
		got, err := configsOf(kafka.ResourceTypeBroker, fmt.Sprint(id))
		if err != nil || len(got) == 0 {
			return fmt.Errorf("broker %d has %d configs: %v", id, len(got), err)
		}
	}
	return nil
}

func alterConfigs() error {
	if err := create("go-alter", 1); err != nil {
		return err
	}
	answer, err := client().IncrementalAlterConfigs(soon(), &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: "go-alter",
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "777000", ConfigOperation: kafka.ConfigOperationSet}}}}})
	if err != nil {
		return err
	}
	for _, resource := range answer.Resources {
		if resource.Error != nil {
			return resource.Error
		}
	}
	return h.Until("the value", func() error {
		got, err := configsOf(kafka.ResourceTypeTopic, "go-alter")
		return h.First(err, h.Equal(got["retention.ms"], "777000", "retention.ms"))
	})
}

func createPartitions() error {
	if err := create("go-partitions", 1); err != nil {
		return err
	}
	made, err := client().CreatePartitions(soon(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "go-partitions", Count: 4}}})
	if err == nil {
		err = made.Errors["go-partitions"]
	}
	if err != nil {
		return err
	}
	err = h.Until("four partitions", func() error {
		found, err := described("go-partitions")
		return h.First(err, h.Equal(len(found.Partitions), 4, "partitions"))
	})
	if err = h.First(err, produce("go-partitions", simple(3, 5))); err != nil {
		return err
	}
	got, err := consume("go-partitions", 3, kafka.FirstOffset, 5)
	return h.First(err, h.Equal(values(got), numbered("v", 0, 5), "values"))
}

// finished makes a group that has committed offset 10 of a topic of its name, and has no members.
func finished(group string) error {
	if err := h.First(create(group, 1), produce(group, simple(0, 10))); err != nil {
		return err
	}
	config := kafka.ReaderConfig{Brokers: h.Bootstrap(), Topic: group, Dialer: dialer(), MaxWait: 300 * time.Millisecond}
	inGroup(&config, group)
	r := kafka.NewReader(config)
	got, err := read(r, 10)
	if err == nil {
		err = r.CommitMessages(soon(), got...)
	}
	return h.First(err, r.Close())
}

func listed(group string) (bool, error) {
	found, err := client().ListGroups(soon(), &kafka.ListGroupsRequest{})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(found.Groups, func(g kafka.ListGroupsResponseGroup) bool { return g.GroupID == group }), found.Error
}

func listGroups() error {
	if err := finished("go-list"); err != nil {
		return err
	}
	is, err := listed("go-list")
	return h.First(err, h.Equal(is, true, "whether the group is listed"))
}

func describeGroups() error {
	if err := create("go-describe", h.Partitions); err != nil {
		return err
	}
	m, err := join("go-describe", "go-describe")
	if err != nil {
		return err
	}
	defer m.leave()
	if err := share(m); err != nil {
		return err
	}
	found, err := client().DescribeGroups(soon(), &kafka.DescribeGroupsRequest{GroupIDs: []string{"go-describe"}})
	if err != nil {
		return err
	}
	group := found.Groups[0]
	if err := h.First(group.Error, h.Equal(group.GroupState, "Stable", "state"), h.Equal(len(group.Members), 1, "members")); err != nil {
		return err
	}
	assigned := group.Members[0].MemberAssignments.Topics
	if len(assigned) != 1 {
		return fmt.Errorf("assignments %+v", assigned)
	}
	slices.Sort(assigned[0].Partitions)
	return h.Equal(assigned[0].Partitions, []int{0, 1, 2, 3, 4, 5}, "assignment")
}

func deleteGroups() error {
	if err := finished("go-delete-group"); err != nil {
		return err
	}
	deleted, err := client().DeleteGroups(soon(), &kafka.DeleteGroupsRequest{GroupIDs: []string{"go-delete-group"}})
	if err == nil {
		err = deleted.Errors["go-delete-group"]
	}
	if err != nil {
		return err
	}
	is, err := listed("go-delete-group")
	return h.First(err, h.Equal(is, false, "whether the group is listed"))
}

// again asks until the answer is not an error that the protocol calls retriable, such as a coordinator that is loading: the
// client's single requests leave that to their caller.
func again(ask func() error) error {
	patience := soon()
	for {
		err := ask()
		var coded kafka.Error
		if !errors.As(err, &coded) || !coded.Temporary() || patience.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func committed(group string) (int64, error) {
	offset := int64(-99)
	err := again(func() error {
		found, err := client().OffsetFetch(soon(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{group: {0}}})
		if err != nil {
			return err
		}
		offset = found.Topics[group][0].CommittedOffset
		return h.First(found.Error, found.Topics[group][0].Error)
	})
	return offset, err
}

func commit(group string, offset int64) error {
	return again(func() error {
		answer, err := client().OffsetCommit(soon(), &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1,
			Topics: map[string][]kafka.OffsetCommit{group: {{Partition: 0, Offset: offset}}}})
		if err != nil {
			return err
		}
		return answer.Topics[group][0].Error
	})
}

func alterGroupOffsets() error {
	if err := h.First(finished("go-alter-group"), commit("go-alter-group", 4)); err != nil {
		return err
	}
	at, err := committed("go-alter-group")
	return h.First(err, h.Equal(at, int64(4), "offset"))
}

func acls() error {
	c := client()
	made, err := c.CreateACLs(soon(), &kafka.CreateACLsRequest{ACLs: []kafka.ACLEntry{{ResourceType: kafka.ResourceTypeTopic, ResourceName: "go-acl",
		ResourcePatternType: kafka.PatternTypeLiteral, Principal: "User:somebody", Host: "*", Operation: kafka.ACLOperationTypeRead,
		PermissionType: kafka.ACLPermissionTypeAllow}}})
	if err = h.First(err); err != nil {
		return err
	}
	if err := h.First(made.Errors...); err != nil {
		return err
	}
	look := func(wanted int) error {
		return h.Until("ACLs", func() error {
			found, err := c.DescribeACLs(soon(), &kafka.DescribeACLsRequest{Filter: kafka.ACLFilter{ResourceTypeFilter: kafka.ResourceTypeTopic,
				ResourceNameFilter: "go-acl", ResourcePatternTypeFilter: kafka.PatternTypeLiteral, PrincipalFilter: "User:somebody", HostFilter: "*",
				Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny}})
			if err != nil {
				return err
			}
			count := 0
			for _, resource := range found.Resources {
				count += len(resource.ACLs)
			}
			return h.First(found.Error, h.Equal(count, wanted, "ACLs"))
		})
	}
	if err := look(1); err != nil {
		return err
	}
	deleted, err := c.DeleteACLs(soon(), &kafka.DeleteACLsRequest{Filters: []kafka.DeleteACLsFilter{{ResourceTypeFilter: kafka.ResourceTypeTopic,
		ResourceNameFilter: "go-acl", ResourcePatternTypeFilter: kafka.PatternTypeLiteral, PrincipalFilter: "User:somebody", HostFilter: "*",
		Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny}}})
	if err != nil {
		return err
	}
	return h.First(deleted.Results[0].Error, h.Equal(len(deleted.Results[0].MatchingACLs), 1, "deleted"), look(0))
}

func scramUsers() error {
	c := client()
	salt := []byte("salt-of-kafka-go")
	salted, err := pbkdf2.Key(sha256.New, "secret", salt, 4096, sha256.Size)
	if err != nil {
		return err
	}
	altered, err := c.AlterUserScramCredentials(soon(), &kafka.AlterUserScramCredentialsRequest{Upsertions: []kafka.UserScramCredentialsUpsertion{{
		Name: "go-user", Mechanism: kafka.ScramMechanismSha256, Iterations: 4096, Salt: salt, SaltedPassword: salted}}})
	if err != nil {
		return err
	}
	if altered.Results[0].Error != nil {
		return altered.Results[0].Error
	}
	look := func(wanted int) error {
		return h.Until("credentials", func() error {
			found, err := c.DescribeUserScramCredentials(soon(), &kafka.DescribeUserScramCredentialsRequest{Users: []kafka.UserScramCredentialsUser{{Name: "go-user"}}})
			if err != nil {
				return err
			}
			return h.Equal(len(found.Results[0].CredentialInfos), wanted, "credentials")
		})
	}
	if err := look(1); err != nil {
		return err
	}
	altered, err = c.AlterUserScramCredentials(soon(), &kafka.AlterUserScramCredentialsRequest{Deletions: []kafka.UserScramCredentialsDeletion{{
		Name: "go-user", Mechanism: kafka.ScramMechanismSha256}}})
	if err != nil {
		return err
	}
	return h.First(altered.Results[0].Error, look(0))
}

func deleteTopic() error {
	if err := create("go-delete", 1); err != nil {
		return err
	}
	deleted, err := client().DeleteTopics(soon(), &kafka.DeleteTopicsRequest{Topics: []string{"go-delete"}})
	if err == nil {
		err = deleted.Errors["go-delete"]
	}
	if err != nil {
		return err
	}
	return h.Until("it is gone", func() error {
		_, err := described("go-delete")
		return h.Equal(errors.Is(err, kafka.UnknownTopicOrPartition), true, "whether it is unknown")
	})
}

func largeRecord() error {
	if err := create("go-large", 1); err != nil {
		return err
	}
	sent := make([]byte, 900*1024)
	_, _ = rand.Read(sent)
	if err := produce("go-large", []kafka.Message{{Value: sent}}); err != nil {
		return err
	}
	got, err := consume("go-large", 0, kafka.FirstOffset, 1)
	if err != nil {
		return err
	}
	return h.Equal(bytes.Equal(got[0].Value, sent), true, "whether the value is as it was sent")
}

func tombstones() error {
	if err := create("go-tombstones", 1); err != nil {
		return err
	}
	err := produce("go-tombstones", []kafka.Message{{Key: []byte("a")}, {Key: []byte("b"), Value: []byte{}}, {Value: []byte("c")}})
	if err != nil {
		return err
	}
	got, err := consume("go-tombstones", 0, kafka.FirstOffset, 3)
	if err != nil {
		return err
	}
	var back []string
	for _, m := range got {
		back = append(back, fmt.Sprintf("%q %q", m.Key, m.Value))
	}
	return h.Equal(back, []string{`"a" ""`, `"b" ""`, `"" "c"`}, "keys and values")
}

func unknownTopic() error {
	if _, err := described("go-nowhere"); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("describing it: %v", err)
	}
	err := produce("go-nowhere", simple(0, 1), func(w *kafka.Writer) { w.MaxAttempts = 1 })
	if !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("producing to it: %v", err)
	}
	return nil
}

func roundTrip(topic string) error {
	if err := h.First(create(topic, 1), produce(topic, simple(0, 10))); err != nil {
		return err
	}
	got, err := consume(topic, 0, kafka.FirstOffset, 10)
	return h.First(err, h.Equal(values(got), numbered("v", 0, 10), "values"))
}

func secure(name, password string) error {
	var err error
	switch name {
	case "SCRAM-SHA-256":
		mechanism, err = scram.Mechanism(scram.SHA256, h.User(name), password)
	case "SCRAM-SHA-512":
		mechanism, err = scram.Mechanism(scram.SHA512, h.User(name), password)
	default:
		mechanism = plain.Mechanism{Username: h.User(name), Password: password}
	}
	return err
}

func saslCheck(name string) h.Check {
	return h.Check{Name: "sasl-" + strings.ToLower(name), Run: func() error {
		return h.First(secure(name, os.Getenv("HOPWISE_PASSWORD")), roundTrip("go-"+strings.ToLower(name)))
	}}
}

func saslWrongPassword() error {
	for _, name := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		if err := secure(name, "wrong"); err != nil {
			return err
		}
		connection, err := dialer().DialContext(soon(), "tcp", h.Bootstrap()[0])
		if err == nil {
			_ = connection.Close()
		}
		if !errors.Is(err, kafka.SASLAuthenticationFailed) {
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
	tlsConfig = &tls.Config{RootCAs: pool}
	return roundTrip("go-tls")
}

func restartWrite() error {
	return h.First(create("go-restart", 1), produce("go-restart", simple(0, 20)), commit("go-restart", 12))
}

func restartRead() error {
	config := kafka.ReaderConfig{Brokers: h.Bootstrap(), Topic: "go-restart", Dialer: dialer(), MaxWait: 300 * time.Millisecond}
	inGroup(&config, "go-restart")
	r := kafka.NewReader(config)
	defer r.Close()
	got, err := read(r, 8)
	if err = h.First(err, h.Equal(values(got), numbered("v", 12, 20), "where the group goes on")); err != nil {
		return err
	}
	got, err = consume("go-restart", 0, kafka.FirstOffset, 20)
	return h.First(err, h.Equal(values(got), numbered("v", 0, 20), "values"))
}

func main() {
	check := func(name string, run func() error) h.Check { return h.Check{Name: name, Run: run} }
	not := func(name, why string) h.Check { return h.Check{Name: name, NotApplicable: why} }
	none := "the client's producer has no idempotence and no transactions"
	h.Main(map[string][]h.Check{
		"plain": {
			check("metadata", metadata), check("create-topic", createTopic), check("produce-fetch", produceFetch),
			codec("none", 0), codec("gzip", kafka.Gzip), codec("snappy", kafka.Snappy), codec("lz4", kafka.Lz4), codec("zstd", kafka.Zstd),
			not("idempotent-producer", none), not("transaction-commit", none), not("transaction-abort", none), not("transaction-offsets", none),
			check("list-offsets", listOffsets), check("out-of-range-reset", outOfRangeReset),
			not("fetch-session", "the client does not use fetch sessions"), check("group-rebalance", groupRebalance),
			not("group-static", "the client has no static members"), not("group-cooperative", "the client has no cooperative assignor"),
			check("group-offsets", groupOffsets), check("describe-configs", describeConfigs), check("alter-configs", alterConfigs),
			check("create-partitions", createPartitions), not("delete-records", "the client has no DeleteRecords request"),
			check("list-groups", listGroups), check("describe-groups", describeGroups), check("delete-groups", deleteGroups),
			check("alter-group-offsets", alterGroupOffsets), check("acls", acls),
			check("scram-users", scramUsers), check("delete-topic", deleteTopic),
			check("large-record", largeRecord), check("tombstones", tombstones), check("unknown-topic", unknownTopic),
			not("describe-cluster", "the client describes the cluster by Metadata"), not("kip-848", "the client does not speak KIP-848"),
		},
		"sasl":          {saslCheck("PLAIN"), saslCheck("SCRAM-SHA-256"), saslCheck("SCRAM-SHA-512"), check("sasl-wrong-password", saslWrongPassword)},
		"tls":           {check("tls", tlsCheck)},
		"restart-write": {check("restart-write", restartWrite)},
		"restart-read":  {check("restart-read", restartRead)},
	})
}
