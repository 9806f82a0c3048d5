package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"unnoise/runtime/durable"
)

// CountLog reads a run's log line by line and counts the records, and the lines that are none. A last line that is cut
// short, as a kill leaves it, is neither: training goes on before it.
func CountLog(path string) (records, bad int, err error) {
	return sieve(path, func([]byte) error { return nil })
}

// MendLog writes the records of the log from, without the lines that are none, as the log at path.
func MendLog(path, from string) error {
	return durable.WriteFile(path, func(w io.Writer) error {
		_, _, err := sieve(from, func(line []byte) error {
			_, err := w.Write(line)
			return err
		})
		return err
	})
}

// sieve gives each line that is a record to keep.
func sieve(path string, keep func(line []byte) error) (records, bad int, err error) {
	f, err := durable.OpenUpTo(path, MaxLog)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }()
	br := bufio.NewReaderSize(f, maxLogLine)
	for {
		line, err := br.ReadSlice('\n')
		long := false
		for errors.Is(err, bufio.ErrBufferFull) {
			long = true
			_, err = br.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return records, bad, nil
		}
		if err != nil {
			return records, bad, err
		}
		var rec Record
		if long || json.Unmarshal(bytes.TrimSpace(line), &rec) != nil {
			bad++
			continue
		}
		records++
		if err := keep(line); err != nil {
			return records, bad, err
		}
	}
}
