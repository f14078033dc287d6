"""What the tests share: brokers and helpers."""
