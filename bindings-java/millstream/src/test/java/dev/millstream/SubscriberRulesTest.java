package dev.millstream;

import contract.v1.EchoRequest;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import org.reactivestreams.tck.TestEnvironment;
import org.reactivestreams.tck.flow.FlowSubscriberBlackboxVerification;
import org.testng.annotations.AfterClass;
import org.testng.annotations.BeforeClass;
import org.testng.annotations.Test;

/** The specification of reactive streams against the subscriber that sends requests. */
@Test
public class SubscriberRulesTest extends FlowSubscriberBlackboxVerification<EchoRequest> {
    private Channel channel;

    public SubscriberRulesTest() {
        super(new TestEnvironment(10_000, 200));
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
    public Flow.Subscriber<EchoRequest> createFlowSubscriber() {
        CompletableFuture<Flow.Subscriber<? super EchoRequest>> subscriber =
                new CompletableFuture<>();
        Call<EchoRequest, ?> call = channel.bidi(Echo.BIDI, CallOptions.DEFAULT);
        call.sendAll((Flow.Publisher<EchoRequest>) subscriber::complete);
        @SuppressWarnings("unchecked")
        Flow.Subscriber<EchoRequest> ours = (Flow.Subscriber<EchoRequest>) subscriber.join();
        return ours;
    }

    @Override
    public EchoRequest createElement(int element) {
        return Echo.request("e" + element);
    }
}
