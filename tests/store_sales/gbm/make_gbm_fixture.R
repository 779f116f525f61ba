# Makes the small exported models that the tests carry, with R's own predictions. Rscript make_gbm_fixture.R OUT (needs gbm).
library(gbm)
out <- commandArgs(trailingOnly = TRUE)[1]
set.seed(11)
n <- 600
skus <- c("1", "2", "3")
dat <- data.frame(lag1 = rnorm(n, 8), month_mean = rnorm(n, 8, 0.5), month_max = rnorm(n, 9), month_min = rnorm(n, 7),
                  level = rnorm(n, 8, 0.4), deal = rbinom(n, 1, 0.3), feat = rbinom(n, 1, 0.2), price1 = runif(n, 1, 3),
                  price2 = runif(n, 1, 3), price3 = runif(n, 1, 3), sku = factor(sample(skus, n, TRUE), levels = c("2", "3", "1")))
dat$y <- 0.5 * dat$lag1 + 0.3 * dat$level + 0.6 * dat$feat + c(0.3, -0.2, 0.1)[as.integer(dat$sku)] - 0.4 * dat$price1 + rnorm(n, 0, 0.3)
dat$lag1[sample(n, 20)] <- NA
dat$price2[sample(n, 20)] <- NA
models <- file.path(out, "rds"); dir.create(models, recursive = TRUE, showWarnings = FALSE)
fit <- function(formula, q) gbm(formula, distribution = list(name = "quantile", alpha = q), data = dat, n.trees = 8,
                                interaction.depth = 4, n.minobsinnode = 10, shrinkage = 0.05, bag.fraction = 0.5, keep.data = FALSE)
lagged <- y ~ lag1 + month_mean + month_max + month_min + level + deal + feat + price1 + price2 + price3 + sku
flat <- y ~ level + deal + feat + price1 + price2 + price3 + sku
test <- dat[1:60, ]
test$sku <- factor(as.character(test$sku), levels = levels(dat$sku))
predictions <- data.frame(row = 1:60)
for (q in c(0.05, 0.25, 0.5, 0.75, 0.95)) {
  for (part in c("1", "2-13")) {
    model <- fit(if (part == "1") lagged else flat, q)
    name <- paste0("gbm_t", part, "_q", 100 * q)
    saveRDS(model, file.path(models, paste0(name, ".rds")))
    predictions[[name]] <- sprintf("%.17g", predict(model, test, n.trees = model$n.trees))
  }
}
counts <- dat; counts$y <- rpois(n, exp(pmin(3, pmax(-1, dat$y - 5))))
poisson <- gbm(flat, distribution = "poisson", data = counts, n.trees = 6, interaction.depth = 3, keep.data = FALSE)
other <- file.path(out, "rds_poisson"); dir.create(other, showWarnings = FALSE)
saveRDS(poisson, file.path(other, "gbm_t1-13_q50.rds"))
predictions$poisson <- sprintf("%.17g", predict(poisson, test, n.trees = 6, type = "response"))
flag <- dat; flag$y <- as.integer(dat$y > median(dat$y))
bernoulli <- gbm(flat, distribution = "bernoulli", data = flag, n.trees = 6, interaction.depth = 3, keep.data = FALSE)
other <- file.path(out, "rds_bernoulli"); dir.create(other, showWarnings = FALSE)
saveRDS(bernoulli, file.path(other, "gbm_t1-13_q50.rds"))
predictions$bernoulli <- sprintf("%.17g", predict(bernoulli, test, n.trees = 6, type = "response"))
numbers <- sapply(test[, setdiff(names(test), c("sku", "y"))], function(x) ifelse(is.na(x), "", sprintf("%.17g", x)))
write.csv(cbind(as.data.frame(numbers), sku = as.character(test$sku)), file.path(out, "inputs.csv"), row.names = FALSE, quote = FALSE)
write.csv(predictions, file.path(out, "predictions.csv"), row.names = FALSE, quote = FALSE)
