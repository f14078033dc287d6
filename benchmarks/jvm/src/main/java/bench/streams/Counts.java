package bench.streams;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/**
 * Counts by status. In bytes: for each status the length of its name (2 bytes), the name in UTF-8,
 * and the count (8 bytes), big-endian.
 */
final class Counts {
  static final Serde<Map<String, Long>> SERDE =
      Serdes.serdeFrom((topic, counts) -> write(counts), (topic, bytes) -> read(bytes));

  private Counts() {}

  static Map<String, Long> add(Map<String, Long> counts, String status) {
    counts.merge(status, 1L, Long::sum);
    return counts;
  }

  private static byte[] write(Map<String, Long> counts) {
    if (counts == null) {
      return null;
    }
    int size = 0;
    for (String status : counts.keySet()) {
      size += 10 + status.length() * 3;
    }
    ByteBuffer buffer = ByteBuffer.allocate(size);
    for (Map.Entry<String, Long> each : counts.entrySet()) {
      byte[] status = each.getKey().getBytes(StandardCharsets.UTF_8);
      buffer.putShort((short) status.length).put(status).putLong(each.getValue());
    }
    byte[] bytes = new byte[buffer.position()];
    buffer.flip().get(bytes);
    return bytes;
  }

  private static Map<String, Long> read(byte[] bytes) {
    if (bytes == null) {
      return null;
    }
    Map<String, Long> counts = new HashMap<>();
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    while (buffer.hasRemaining()) {
      byte[] status = new byte[buffer.getShort()];
      buffer.get(status);
      counts.put(new String(status, StandardCharsets.UTF_8), buffer.getLong());
    }
    return counts;
  }
}
