// readme: begin
import dev.millstream.Batch;
import dev.millstream.Channel;

/** Receives every weather observation of the server, as bytes. */
class ReadmeExample {
    private static final byte[] ALL = {};

    public static void main(String[] args) {
        String target = args.length > 0 ? args[0] : "http://127.0.0.1:50051";
        long messages = 0;
        long bytes = 0;
        try (var channel = Channel.open(target);
                var call = channel.serverStream("/weather.v1.Weather/GetWeatherStream", ALL)) {
            for (Batch batch : call.batches()) {
                while (batch.advance()) {
                    messages++;
                    bytes += batch.length();
                }
            }
        }
        System.out.println(messages + " observations, " + bytes + " bytes");
    }
}
// readme: end
