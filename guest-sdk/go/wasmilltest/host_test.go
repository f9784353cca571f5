package wasmilltest_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"wasmill"
	"wasmill/handler"
	"wasmill/projection"
	"wasmill/upcaster"
	"wasmill/wasmilltest"
)

type stock struct {
	Stock int `json:"stock"`
}

// A plugin whose events say what to do; the key names the item.
var warehouse = projection.Plugin{
	Descriptor: wasmill.Descriptor{
		Name:        "warehouse",
		Version:     "0.1.0",
		Collections: []wasmill.Collection{{Name: "items"}, {Name: "sums"}},
		Config:      []wasmill.Setting{{Name: "depot", Default: wasmill.Default("Leith")}},
	},
	Apply: func(event *wasmill.Event, state wasmill.State) error {
		depot, _ := wasmill.Config("depot")
		switch event.Type {
		case "changed":
			var by int
			if err := event.Decode(&by); err != nil {
				return wasmill.Reject("stock.malformed", "%v", err)
			}
			var item stock
			if _, err := state.Get("items", event.Key, &item); err != nil {
				return err
			}
			item.Stock += by
			return state.Put("items", event.Key, item)
		case "dropped":
			state.Remove("items", event.Key)
		case "summed":
			count := 0
			for range state.Scan("items", event.Key) {
				count++
			}
			return state.Put("sums", event.Key, count)
		case "refused":
			return wasmill.Retry("stock.refused", 5*time.Millisecond, "not now, %s", depot)
		case "undeclared":
			return state.Put("elsewhere", "x", 1)
		case "panics":
			panic("oh")
		case "logged":
			wasmill.Warn("low", wasmill.Fields{"depot": depot, "trace": event.Details()["traceparent"]})
		}
		return nil
	},
}

const undeclared = "the collection elsewhere is not in the descriptor"

func event(kind, item string, by any) wasmilltest.Event {
	return wasmilltest.Event{Stream: "stock-1", Type: kind, Key: item, Data: by}
}

func TestWhereBatchesEndDoesNotShow(t *testing.T) {
	items := []string{"a", "ab", "b", "日本 \x00\"\\<&>"}
	kinds := []string{"dropped", "summed", "changed", "changed"}
	var events []wasmilltest.Event
	for n := range uint32(2000) {
		random := n * 2654435761 >> 8
		events = append(events, event(kinds[random%4], items[random>>8%4], 1))
	}
	var first string
	for _, batch := range []int{1, 2, 64, 2000} {
		host := wasmilltest.New(t, warehouse)
		host.Batch = batch
		host.Must(events...)
		// A map is printed in the order of its keys.
		if folded := fmt.Sprintf("%q", host.Documents); first == "" {
			first = folded
		} else if folded != first {
			t.Errorf("%d at a time: %s, and %s", batch, folded, first)
		}
	}
}

func TestAScanCrossesPages(t *testing.T) {
	host := wasmilltest.New(t, warehouse)
	for n := range 300 {
		host.Must(event("changed", fmt.Sprintf("bolt-%d", n), 1))
	}
	host.Must(event("changed", "bolt-new", 1), event("summed", "bolt-", nil))
	if sum := host.Document("sums", "bolt-"); sum != "301" {
		t.Error(sum)
	}
}

func TestAFailureNamesItsEventAndItsBatchLeavesNothing(t *testing.T) {
	for kind, want := range map[string]wasmill.Failure{
		"refused":    {Code: "stock.refused", Message: "not now, Leith", RetryAfter: 5 * time.Millisecond, Index: 1},
		"panics":     {Disposition: 1, Code: "plugin.exception", Message: "panic: oh", Index: 1},
		"undeclared": {Disposition: 1, Code: "plugin.exception", Message: "panic: " + undeclared, Index: 1},
	} {
		host := wasmilltest.New(t, warehouse)
		_, err := host.Feed(event("changed", "nuts", 1), event(kind, "nuts", 1))
		var failure *wasmill.Failure
		if !errors.As(err, &failure) || fmt.Sprint(*failure) != fmt.Sprint(want) {
			t.Errorf("%s: %v", kind, err)
		}
		if len(host.Documents) > 0 {
			t.Errorf("%s leaves %v", kind, host.Documents)
		}
	}
}

func TestTheLogHasItsFields(t *testing.T) {
	host := wasmilltest.New(t, warehouse)
	host.Must(wasmilltest.Event{Type: "logged", Details: [][2]string{{"traceparent", "00-1"}}})
	if len(host.Log) != 1 || host.Log[0] != "warn low depot=Leith trace=00-1" {
		t.Error(host.Log)
	}
}

func TestAppendsNameTheirCauseAndAFailedBatchAppendsNothing(t *testing.T) {
	host := wasmilltest.New(t, handler.Plugin{
		Handle: func(event *wasmill.Event, _ wasmill.State, emit handler.Emit) error {
			if event.Type == "bad" {
				return errors.New("no")
			}
			return emit("echoes", wasmill.NewEvent{Type: "echo", Data: "<a>"}, wasmill.NewEvent{Type: "again"})
		},
	})
	host.Must(event("a", "", 1), event("b", "", 2))
	if _, err := host.Feed(event("a", "", 1), event("bad", "", 2)); err == nil {
		t.Error("it did not fail")
	}
	told := ""
	for _, appended := range host.Appended {
		told += fmt.Sprintf("%d %s %s %s\n", appended.Cause, appended.Stream, appended.Type, appended.Data)
	}
	if told != "0 echoes echo \"<a>\"\n0 echoes again null\n1 echoes echo \"<a>\"\n1 echoes again null\n" {
		t.Error(told)
	}
}

func TestAnUpcasterLiftsWhatItDeclaresAndFailsSingleEvents(t *testing.T) {
	host := wasmilltest.New(t, upcaster.Plugin{Lifts: []upcaster.Lift{
		{Type: "a", Version: 1, ToType: "b", ToVersion: 2, Lift: func(event *wasmill.Event) (any, error) {
			var data map[string]int
			err := event.Decode(&data)
			return data, err
		}},
	}})
	lifted := host.Must(event("a", "", map[string]int{"x": 1}), event("b", "", nil), event("a", "", "text"))
	if one := lifted[0]; one.Type != "b" || one.SchemaVersion != 2 || string(one.Data) != `{"x":1}` {
		t.Errorf("%+v", one)
	}
	if lifted[1].Data != nil || lifted[1].Failure != nil {
		t.Errorf("%+v", lifted[1])
	}
	if failure := lifted[2].Failure; failure == nil || failure.Code != "plugin.exception" {
		t.Errorf("%+v", lifted[2])
	}
}
