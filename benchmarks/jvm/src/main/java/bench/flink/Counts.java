package bench.flink;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;

/** Takes what comes out of the windows, which is all in this process, and leaves it in a file. */
final class Counts implements Sink<Counts.OfWindow> {
  /** Counts by status of one campaign and window; its start in ms. */
  record OfWindow(String campaign, long start, Map<String, Long> counts) implements Serializable {}

  private static final ConcurrentLinkedQueue<OfWindow> FOUND = new ConcurrentLinkedQueue<>();

  @Override
  public SinkWriter<OfWindow> createWriter(WriterInitContext context) {
    return new SinkWriter<>() {
      @Override
      public void write(OfWindow counts, Context context) {
        FOUND.add(counts);
      }

      @Override
      public void flush(boolean endOfInput) {}

      @Override
      public void close() {}
    };
  }

  /** Writes them as progress.py does. */
  static void leave(Path file) throws IOException {
    try (BufferedWriter out = Files.newBufferedWriter(file)) {
      String comma = "[";
      for (OfWindow each : FOUND) {
        for (Map.Entry<String, Long> count : each.counts().entrySet()) {
          out.write(
              String.format(
                  "%s[\"%s\", %d, \"%s\", %d]",
                  comma, each.campaign(), each.start() / 1000, count.getKey(), count.getValue()));
          comma = ",\n";
        }
      }
      out.write("]");
    }
  }
}
