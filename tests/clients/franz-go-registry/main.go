// franz-go's Schema Registry client (pkg/sr).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	h "hopwise/clients/harness"

	"github.com/twmb/franz-go/pkg/sr"
)

const (
	first    = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}`
	wider    = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"note","type":"string","default":""}]}`
	other    = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}`
	asJSON   = `{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}`
	protobuf = `syntax = "proto3"; package shop; message Order { int64 id = 1; }`
)

// client asks the broker with this place in the list of brokers.
func client(broker int) *sr.Client {
	addresses := strings.Split(os.Getenv("HOPWISE_SCHEMA_REGISTRY"), ",")
	_, address, _ := strings.Cut(addresses[broker], "=")
	made, err := sr.NewClient(sr.URLs("http://" + address))
	if err != nil {
		panic(err)
	}
	return made
}

func soon() context.Context {
	// Ends with its time.
	ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
	_ = cancel
	return ctx
}

func register(subject string, texts ...string) (last sr.SubjectSchema, err error) {
	for _, text := range texts {
		if last, err = client(0).CreateSchema(soon(), subject, sr.Schema{Schema: text}); err != nil {
			return last, err
		}
	}
	return last, nil
}

func refused(err error, code int) error {
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		return fmt.Errorf("expected error %d, got %v", code, err)
	}
	return h.Equal(answer.ErrorCode, code, "error")
}

func types() error {
	got, err := client(0).SupportedTypes(soon())
	var names []string
	for _, t := range got {
		names = append(names, t.String())
	}
	slices.Sort(names)
	return h.First(err, h.Equal(names, []string{"AVRO", "JSON", "PROTOBUF"}, "types"))
}

func registerCheck() error {
	one, err := register("fr-register", first)
	if err != nil {
		return err
	}
	again, err := client(1).CreateSchema(soon(), "fr-register", sr.Schema{Schema: first})
	if err = h.First(err, h.Equal(again.ID, one.ID, "the id of the same schema, elsewhere")); err != nil {
		return err
	}
	subjects, err := client(2).Subjects(soon())
	return h.First(err, h.Equal(slices.Contains(subjects, "fr-register"), true, "whether the subject is listed"))
}

func lookUp() error {
	one, err := register("fr-look-up", first)
	if err != nil {
		return err
	}
	found, err := client(1).LookupSchema(soon(), "fr-look-up", sr.Schema{Schema: first})
	if err = h.First(err, h.Equal([]int{found.ID, found.Version}, []int{one.ID, 1}, "id and version")); err != nil {
		return err
	}
	_, err = client(0).LookupSchema(soon(), "fr-nowhere", sr.Schema{Schema: first})
	return refused(err, 40401)
}

func versions() error {
	if _, err := register("fr-versions", first, wider); err != nil {
		return err
	}
	got, err := client(1).SubjectVersions(soon(), "fr-versions")
	if err = h.First(err, h.Equal(got, []int{1, 2}, "versions")); err != nil {
		return err
	}
	_, err = client(0).SchemaByVersion(soon(), "fr-versions", 9)
	return refused(err, 40402)
}

func byID() error {
	one, err := register("fr-by-id", wider)
	if err != nil {
		return err
	}
	found, err := client(2).SchemaByID(soon(), one.ID)
	if err != nil {
		return err
	}
	var got, wanted any
	if err := h.First(json.Unmarshal([]byte(found.Schema), &got), json.Unmarshal([]byte(wider), &wanted), h.Equal(got, wanted, "the schema")); err != nil {
		return err
	}
	_, err = client(0).SchemaByID(soon(), 999999)
	return refused(err, 40403)
}

func compatibility(subject, text string, wanted bool) error {
	if _, err := register(subject, first); err != nil {
		return err
	}
	got, err := client(0).CheckCompatibility(soon(), subject, -1, sr.Schema{Schema: text})
	return h.First(err, h.Equal(got.Is, wanted, "whether it is compatible"))
}

func incompatible() error {
	if err := compatibility("fr-incompatible", other, false); err != nil {
		return err
	}
	_, err := register("fr-incompatible", other)
	return refused(err, 409)
}

func level() error {
	if _, err := register("fr-level", first); err != nil {
		return err
	}
	for _, set := range client(0).SetCompatibility(soon(), sr.SetCompatibility{Level: sr.CompatNone}, "fr-level") {
		if set.Err != nil {
			return set.Err
		}
	}
	for _, got := range client(1).Compatibility(soon(), "fr-level") {
		if err := h.First(got.Err, h.Equal(got.Level, sr.CompatNone, "level")); err != nil {
			return err
		}
	}
	_, err := register("fr-level", other)
	return err
}

func deleteVersion() error {
	if _, err := register("fr-delete-version", first, wider); err != nil {
		return err
	}
	if err := client(0).DeleteSchema(soon(), "fr-delete-version", 1, sr.SoftDelete); err != nil {
		return err
	}
	got, err := client(1).SubjectVersions(soon(), "fr-delete-version")
	return h.First(err, h.Equal(got, []int{2}, "versions that are left"))
}

func deleteSubject() error {
	if _, err := register("fr-delete", first); err != nil {
		return err
	}
	gone, err := client(0).DeleteSubject(soon(), "fr-delete", sr.SoftDelete)
	if err = h.First(err, h.Equal(gone, []int{1}, "versions")); err != nil {
		return err
	}
	if _, err := client(0).DeleteSubject(soon(), "fr-delete", sr.HardDelete); err != nil {
		return err
	}
	subjects, err := client(1).Subjects(sr.WithParams(soon(), sr.ShowDeleted))
	return h.First(err, h.Equal(slices.Contains(subjects, "fr-delete"), false, "whether the subject is listed"))
}

func typed(subject, text string, kind sr.SchemaType) func() error {
	return func() error {
		made, err := client(0).CreateSchema(soon(), subject, sr.Schema{Schema: text, Type: kind})
		if err != nil {
			return err
		}
		found, err := client(1).SchemaByID(soon(), made.ID)
		return h.First(err, h.Equal(found.Type, kind, "type"))
	}
}

func main() {
	check := func(name string, run func() error) h.Check { return h.Check{Name: name, Run: run} }
	h.Main(map[string][]h.Check{"plain": {
		check("types", types), check("register", registerCheck), check("look-up", lookUp), check("versions", versions),
		check("by-id", byID), check("compatible", func() error { return compatibility("fr-compatible", wider, true) }),
		check("incompatible", incompatible), check("compatibility-level", level), check("delete-version", deleteVersion),
		check("delete-subject", deleteSubject), check("json-schema", typed("fr-json", asJSON, sr.TypeJSON)),
		check("protobuf", typed("fr-protobuf", protobuf, sr.TypeProtobuf)),
		{Name: "serialized-records", NotApplicable: "the client serializes only by functions of the caller"},
	}})
}
