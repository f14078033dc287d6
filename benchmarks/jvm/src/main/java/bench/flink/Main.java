package bench.flink;

import bench.Event;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/**
 * Flink, after its guide: a Kafka source, keyed by campaign, tumbling windows of event time,
 * aggregate.
 *
 * <p>All of it, job manager and task manager, is in this process, with one slot. State is on the
 * heap, the default, with checkpoints (exactly once) to the local disk. All settings are the
 * defaults but those below. Windows are given out when the topic's end is reached.
 */
public final class Main {
  private static final Duration CHECKPOINTS = Duration.ofSeconds(10);
  private static final Duration OUT_OF_ORDER = Duration.ofHours(24);
  private static long expected;
  private static long counted;

  private Main() {}

  /** Arguments: --name=value as in progress.py. */
  public static void main(String[] arguments) throws Exception {
    Map<String, String> given = new HashMap<>();
    for (String argument : arguments) {
      String[] parts = argument.substring(2).split("=", 2);
      given.put(parts[0], parts[1]);
    }
    expected = Long.parseLong(given.get("events"));
    Configuration settings = new Configuration();
    settings.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, CHECKPOINTS);
    settings.set(
        CheckpointingOptions.CHECKPOINTS_DIRECTORY,
        Path.of(given.get("directory"), "checkpoints").toUri().toString());
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.createLocalEnvironment(1, settings);
    build(environment, given);
    environment.execute();
    System.out.println("done " + counted);
    System.in.read(); // until its end: this process is being looked at
    Counts.leave(Path.of(given.get("counts")));
    System.exit(0);
  }

  private static void build(StreamExecutionEnvironment environment, Map<String, String> given) {
    KafkaSource<Tuple3<String, String, Long>> source =
        KafkaSource.<Tuple3<String, String, Long>>builder()
            .setBootstrapServers(given.get("brokers"))
            .setTopics(given.get("topic"))
            .setGroupId(given.get("group"))
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setBounded(OffsetsInitializer.latest())
            .setValueOnlyDeserializer(new Decoder())
            .build();
    WatermarkStrategy<Tuple3<String, String, Long>> eventTime =
        WatermarkStrategy.<Tuple3<String, String, Long>>forBoundedOutOfOrderness(OUT_OF_ORDER)
            .withTimestampAssigner((event, time) -> event.f2);
    environment
        .fromSource(source, eventTime, "events")
        .keyBy(event -> event.f0, Types.STRING)
        .window(TumblingEventTimeWindows.of(Duration.ofMinutes(1)))
        .aggregate(
            new Count(),
            new Named(),
            Types.MAP(Types.STRING, Types.LONG),
            Types.MAP(Types.STRING, Types.LONG),
            TypeInformation.of(Counts.OfWindow.class))
        .sinkTo(new Counts());
  }

  /** Campaign, status and time (ms) of an event. */
  private static final class Decoder
      extends AbstractDeserializationSchema<Tuple3<String, String, Long>> {
    private transient ObjectReader reader;

    Decoder() {
      super(new TypeHint<>() {});
    }

    @Override
    public void open(InitializationContext context) {
      reader = new ObjectMapper().readerFor(Event.class);
    }

    @Override
    public Tuple3<String, String, Long> deserialize(byte[] bytes) throws IOException {
      Event event = reader.readValue(bytes);
      Event.Attributes attributes = event.attributes();
      return Tuple3.of(attributes.campaign(), attributes.status(), event.timestamp());
    }
  }

  private static final class Count
      implements AggregateFunction<
          Tuple3<String, String, Long>, Map<String, Long>, Map<String, Long>> {
    @Override
    public Map<String, Long> createAccumulator() {
      return new HashMap<>();
    }

    @Override
    public Map<String, Long> add(Tuple3<String, String, Long> event, Map<String, Long> counts) {
      progress();
      counts.merge(event.f1, 1L, Long::sum);
      return counts;
    }

    @Override
    public Map<String, Long> getResult(Map<String, Long> counts) {
      return counts;
    }

    @Override
    public Map<String, Long> merge(Map<String, Long> left, Map<String, Long> right) {
      right.forEach((status, count) -> left.merge(status, count, Long::sum));
      return left;
    }
  }

  private static final class Named
      extends ProcessWindowFunction<Map<String, Long>, Counts.OfWindow, String, TimeWindow> {
    @Override
    public void process(
        String campaign,
        Context context,
        Iterable<Map<String, Long>> counts,
        Collector<Counts.OfWindow> out) {
      out.collect(
          new Counts.OfWindow(campaign, context.window().getStart(), counts.iterator().next()));
    }
  }

  /** One slot, so one thread counts. */
  private static void progress() {
    counted++;
    if (counted == 1 || counted == expected / 2 || counted == expected) {
      System.out.println("counted " + counted);
    }
  }
}
