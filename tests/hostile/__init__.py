"""The hostile corpus: files that attack their reader, the proof that their payloads are live, and a fuzzer."""
