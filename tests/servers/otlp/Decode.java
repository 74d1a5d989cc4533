import com.google.protobuf.util.JsonFormat;
import io.opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest;
import io.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/** OpenTelemetry's own definitions over bodies, one `SIGNAL JSON` a line: answers `ok` or why it is none. Unknown fields are faults. */
public class Decode {
    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            int space = line.indexOf(' ');
            String json = line.substring(space + 1);
            try {
                if (line.startsWith("traces")) {
                    JsonFormat.parser().merge(json, ExportTraceServiceRequest.newBuilder());
                } else {
                    JsonFormat.parser().merge(json, ExportMetricsServiceRequest.newBuilder());
                }
                System.out.println("ok");
            } catch (Exception fault) {
                System.out.println(fault.getMessage().replaceAll("\\s+", " "));
            }
        }
    }
}
