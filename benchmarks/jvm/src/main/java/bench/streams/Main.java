package bench.streams;

import bench.Event;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Kafka Streams, after its guide: a stream keyed by campaign, tumbling windows, aggregate.
 *
 * <p>State is in RocksDB with a changelog topic and a record cache; all settings are the defaults
 * but those below. Before the stream is repartitioned it is reduced to what is counted.
 */
public final class Main {
  private static final Duration GRACE = Duration.ofHours(24);
  private static final CountDownLatch ALL = new CountDownLatch(1);
  private static long expected;
  private static long counted;

  private Main() {}

  /** Arguments: --name=value as in progress.py, and --exactly-once. */
  public static void main(String[] arguments) throws InterruptedException, IOException {
    Map<String, String> given = new HashMap<>();
    for (String argument : arguments) {
      String[] parts = argument.substring(2).split("=", 2);
      given.put(parts[0], parts.length > 1 ? parts[1] : "");
    }
    expected = Long.parseLong(given.get("events"));
    StreamsBuilder builder = new StreamsBuilder();
    build(builder, given.get("topic"), given.get("keyed").equals("1"));
    KafkaStreams streams = new KafkaStreams(builder.build(), settings(given));
    streams.start();
    ALL.await();
    streams.close(); // writes down and commits what is in the cache
    System.out.println("done " + counted);
    System.in.read(); // until its end: this process is being looked at
  }

  private static Properties settings(Map<String, String> given) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, given.get("group"));
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given.get("brokers"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, given.get("directory") + "/state");
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L * 1024 * 1024);
    settings.put(
        StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
        given.containsKey("exactly-once")
            ? StreamsConfig.EXACTLY_ONCE_V2
            : StreamsConfig.AT_LEAST_ONCE);
    return settings;
  }

  private static void build(StreamsBuilder builder, String topic, boolean keyed) {
    Consumed<String, Event> source =
        Consumed.with(Serdes.String(), events())
            .withTimestampExtractor((record, previous) -> ((Event) record.value()).timestamp());
    KStream<String, Event> events = builder.stream(topic, source);
    KStream<String, String> statuses =
        keyed
            ? events.mapValues(event -> event.attributes().status())
            : events.map(
                (key, event) ->
                    KeyValue.pair(event.attributes().campaign(), event.attributes().status()));
    statuses
        .groupByKey(Grouped.with("campaign", Serdes.String(), Serdes.String()))
        .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), GRACE))
        .aggregate(
            HashMap::new,
            (campaign, status, counts) -> {
              progress();
              return Counts.add(counts, status);
            },
            Materialized.<String, Map<String, Long>, WindowStore<Bytes, byte[]>>as("counts")
                .withKeySerde(Serdes.String())
                .withValueSerde(Counts.SERDE)
                .withRetention(GRACE.plusMinutes(1)));
  }

  /** There is one stream thread, the default. */
  private static void progress() {
    counted++;
    if (counted == 1 || counted == expected / 2 || counted == expected) {
      System.out.println("counted " + counted);
      if (counted == expected) {
        ALL.countDown();
      }
    }
  }

  private static Serde<Event> events() {
    ObjectReader reader = new ObjectMapper().readerFor(Event.class);
    return Serdes.serdeFrom(
        (topic, event) -> {
          throw new UnsupportedOperationException("events are only read");
        },
        (topic, bytes) -> {
          try {
            return reader.readValue(bytes);
          } catch (IOException error) {
            throw new UncheckedIOException(error);
          }
        });
  }
}
