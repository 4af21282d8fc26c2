import dev.millstream.Channel;
import java.nio.file.Path;

/**
 * The demo scenario: all six services over real data, one JSON line for each on standard output.
 *
 * <p>The same scenario stands in every language. What each service sends back is summed up by a
 * CRC-32 over the payload bytes of every message received, in order, so that the languages can be
 * compared.
 */
final class Demo {
    private Demo() {}

    public static void main(String[] args) {
        if (args.length != 2) {
            System.err.println("usage: Demo TARGET DATA_DIR");
            System.exit(2);
        }
        try (Channel channel = Channel.open(args[0])) {
            Scenario scenario = new Scenario(channel, Path.of(args[1]));
            scenario.weather();
            scenario.logs();
            scenario.chat();
            scenario.market();
            scenario.telemetry();
            scenario.sync();
        } catch (Exception e) {
            System.err.println("error: " + e);
            System.exit(1);
        }
    }
}
