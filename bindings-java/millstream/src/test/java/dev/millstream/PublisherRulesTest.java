package dev.millstream;

import contract.v1.EchoResponse;
import java.util.concurrent.Flow;
import org.reactivestreams.tck.TestEnvironment;
import org.reactivestreams.tck.flow.FlowPublisherVerification;
import org.testng.annotations.AfterClass;
import org.testng.annotations.BeforeClass;
import org.testng.annotations.Test;

/** The specification of reactive streams against the publishers of a channel. */
@Test
public class PublisherRulesTest extends FlowPublisherVerification<EchoResponse> {
    private Channel channel;

    /** Waits long for what must come, and briefly for what must not. */
    public PublisherRulesTest() {
        super(new TestEnvironment(10_000, 200), 3_000);
    }

    @BeforeClass
    public void open() throws Exception {
        channel = Channel.open(TestServer.reference().get("http"));
    }

    @AfterClass
    public void close() {
        channel.close();
    }

    @Override
    public Flow.Publisher<EchoResponse> createFlowPublisher(long elements) {
        return channel.publisher(
                Echo.SERVER_STREAM, Echo.answers((int) elements, 1), CallOptions.DEFAULT);
    }

    @Override
    public Flow.Publisher<EchoResponse> createFailedFlowPublisher() {
        return channel.publisher(
                Echo.SERVER_STREAM,
                Echo.finish(0, 13, "failed on purpose", new byte[0]),
                CallOptions.DEFAULT);
    }

    @Override
    public long maxElementsFromPublisher() {
        return Integer.MAX_VALUE;
    }
}
