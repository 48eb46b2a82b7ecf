// Reads texts, and writes for each what `kubectl apply -f` would make of it: the JSON of its documents in order, and
// the error that ended the reading. The reader is kubectl's own: the one of `k8s.io/cli-runtime/pkg/resource`, on the
// same packages.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Read is what kubectl makes of one text.
type Read struct {
	// Each as text: JSON knows numbers that others do not read.
	Documents []string `json:"documents"`
	Error     string   `json:"error,omitempty"`
}

// Each text comes after its length, four bytes with the highest first; each answer is one line of JSON.
func main() {
	if err := answer(bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer(in *bufio.Reader, out *bufio.Writer) error {
	for {
		var length uint32
		if err := binary.Read(in, binary.BigEndian, &length); errors.Is(err, io.EOF) {
			return out.Flush()
		} else if err != nil {
			return err
		}
		text := make([]byte, length)
		if _, err := io.ReadFull(in, text); err != nil {
			return err
		}
		line, err := json.Marshal(read(text))
		if err != nil {
			return err
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
}

// read does what kubectl's `StreamVisitor` does, with its size of buffer.
func read(text []byte) (result Read) {
	result.Documents = []string{}
	defer func() {
		if panicked := recover(); panicked != nil {
			result.Error = fmt.Sprint("panic: ", panicked)
		}
	}()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		extension := runtime.RawExtension{}
		if err := decoder.Decode(&extension); errors.Is(err, io.EOF) {
			return result
		} else if err != nil {
			result.Error = err.Error()
			return result
		}
		raw := bytes.TrimSpace(extension.Raw)
		if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
			continue
		}
		result.Documents = append(result.Documents, string(raw))
	}
}
