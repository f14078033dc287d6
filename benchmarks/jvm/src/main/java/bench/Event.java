package bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;

/** What is needed of an event; Jackson skips the rest. */
@JsonIgnoreProperties(ignoreUnknown = true)
public record Event(
    @JsonProperty("event_timestamp") long timestamp,
    @JsonProperty("attributes") Attributes attributes) {

  /** What is counted by. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  public record Attributes(
      @JsonProperty("campaign_id") String campaign,
      @JsonProperty("campaign_send_status") String status) {}
}
