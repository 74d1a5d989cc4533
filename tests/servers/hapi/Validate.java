import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/** HL7's reference validator over resources, one `VERSION JSON` a line; answers `LINE SEVERITY ID PLACE MESSAGE` for each issue. */
public class Validate {
    static FhirValidator made(FhirContext context) {
        ValidationSupportChain chain = new ValidationSupportChain(
            new DefaultProfileValidationSupport(context),
            new CommonCodeSystemsTerminologyService(context),
            new InMemoryTerminologyServerValidationSupport(context));
        FhirInstanceValidator module = new FhirInstanceValidator(chain);
        module.setErrorForUnknownProfiles(true);
        return context.newValidator().registerValidatorModule(module);
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, FhirValidator> validators = new HashMap<>();
        validators.put("R4", made(FhirContext.forR4()));
        validators.put("R5", made(FhirContext.forR5()));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        int number = 0;
        for (String line = in.readLine(); line != null; line = in.readLine(), number++) {
            int space = line.indexOf(' ');
            FhirValidator validator = validators.get(line.substring(0, space));
            for (SingleValidationMessage issue : validator.validateWithResult(line.substring(space + 1)).getMessages()) {
                out.println(number + "\t" + issue.getSeverity() + "\t" + issue.getMessageId() + "\t"
                    + issue.getLocationString() + "\t" + issue.getMessage().replaceAll("\\s+", " "));
            }
        }
        out.println("done\t" + number);
    }
}
